"""What a study would compute again, and the first difference to what is stored (`wetakd why`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from wetakd.common.leaves import leaves
from wetakd.config import DistillationConfig, RecipeConfig, ViewsConfig, WeightsConfig
from wetakd.plan.key_payloads import Payload
from wetakd.plan.result_keys import ResultKeys, cache_key, evaluation_key
from wetakd.plan.study_plan import Plan
from wetakd.plan.trials import NetworkNode, Trial
from wetakd.results.display_names import recipe_label
from wetakd.storage import failure_records
from wetakd.storage.addresses import (
    evaluation_address,
    logit_cache_address,
    network_address,
    search_address,
    student_address,
)
from wetakd.storage.atomic_store import Store

_PAYLOAD_BLOCKS: Mapping[str, type[BaseModel]] = {
    "recipe": RecipeConfig,
    "distillation": DistillationConfig,
    "views": ViewsConfig,
    "weights": WeightsConfig,
}
_DIGESTS = {
    "data": "other images, splits or transform",
    "file": "another content of the file",
    "model_code": "another source of the model's function",
    "loss_code": "another source of the loss",
    "strategy_code": "another source of the strategy",
    "caches": "other logits",
    "teachers": "other teachers, logits or ensemble weights",
}
"""What it means that the digest in a payload differs."""
_MISSING = object()


@dataclass(frozen=True)
class Recomputation:
    """Results that would be computed again for one reason."""

    names: tuple[str, ...]
    """Of networks, such as `teacher`, or of trials, such as `uniform ta8+ta6, seed 0`."""
    reason: str

    @property
    def text(self) -> str:
        """One line."""
        more = f" and {len(self.names) - 1} more" if len(self.names) > 1 else ""
        return f"{self.names[0]}{more}: {self.reason}"


def find_recomputations(store: Store, plan: Plan) -> list[Recomputation]:
    """Everything that a run of the plan would compute, grouped by reason, networks first."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, reason in _Comparison(store, plan).reasons():
        names[reason].append(name)
    return [Recomputation(tuple(dict.fromkeys(found)), reason) for reason, found in names.items()]


class _Comparison:
    """Compares the payloads of a plan with those that are stored."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self._store, self._plan = store, plan
        self._keys = ResultKeys.stored(store, plan)
        self._stored: dict[str, list[Payload]] = {}
        self._failed: set[tuple[int, str]] = set()
        """Networks whose failure is recorded, and their pupils: a run computes none of them."""

    def reasons(self) -> Iterator[tuple[str, str]]:
        """The name of each result that is missing, with the reason."""
        missing: set[tuple[int, str]] = set()
        for node in self._plan.nodes:
            if (reason := self._network(node, missing)) is not None:
                missing.add((node.replicate, node.name))
                yield self._node_name(node.name, node.replicate), reason
        for trial in self._plan.trials:
            if (reason := self._trial(trial, missing)) is not None:
                yield self._trial_name(trial), reason

    def _network(self, node: NetworkNode, missing: set[tuple[int, str]]) -> str | None:
        if self._has_failed(node.replicate, node.teachers):
            self._failed.add((node.replicate, node.name))
            return None
        address = network_address(node.key)
        manifest = self._store.find(address)
        if manifest is not None and self._store.find(logit_cache_address(cache_key(node, manifest))) is not None:
            return None
        if failure_records.find_failure(self._store, address) is not None:
            self._failed.add((node.replicate, node.name))
            return None
        if manifest is not None:
            return "its logits are not stored"
        again = [name for name in node.teachers if (node.replicate, name) in missing]
        reason = self._difference(address, node.payload, ignored=("teachers",) if again else ())
        return reason or f"its teacher {again[0]} would be trained again"

    def _has_failed(self, replicate: int, names: Iterable[str]) -> bool:
        return any((replicate, name) in self._failed for name in names)

    def _trial(self, trial: Trial, missing: set[tuple[int, str]]) -> str | None:
        if self._has_failed(trial.replicate, trial.arm.assistants):
            return None
        again = [name for name in trial.arm.assistants if (trial.replicate, name) in missing]
        if again:
            return f"its teacher {again[0]} would be trained again"
        student = self._keys.stored_student(self._store, trial)
        if student is None:
            search = self._keys.search(trial)
            if failure_records.find_failure(self._store, search_address(search.key)) is not None:
                return None
            return f"search: {self._difference(search_address(search.key), search.payload)}"
        address = student_address(student.key)
        manifest = self._store.find(address)
        if manifest is not None:
            evaluation = evaluation_address(evaluation_key(student.key, manifest, self._plan.dataset))
            return None if self._store.find(evaluation) is not None else "its evaluation is not stored"
        if failure_records.find_failure(self._store, address) is not None:
            return None
        return self._difference(address, student.payload)

    def _difference(self, address: str, wanted: Payload, ignored: Iterable[str] = ()) -> str:
        """The first difference to the stored payload that is most like `wanted`; empty where all is ignored."""
        folder = address.partition("/")[0]
        if folder not in self._stored:
            found = (self._store.find(path) for path in self._store.addresses(folder))
            self._stored[folder] = [manifest.payload for manifest in found if manifest is not None]
        candidates = [payload for payload in self._stored[folder] if payload.get("kind") == wanted["kind"]]
        if not candidates:
            return "nothing of its kind is stored"
        differences = [payload_differences(stored, wanted, ignored) for stored in candidates]
        fewest = min(differences, key=len)
        return fewest[0] if fewest else ""

    def _node_name(self, name: str, replicate: int) -> str:
        return name if self._plan.config.study.replicates == 1 else f"{name} (replicate {replicate})"

    def _trial_name(self, trial: Trial) -> str:
        label = f"{recipe_label(trial.arm.strategy, trial.arm.assistants, trial.arm.point)}, seed {trial.seed}"
        return self._node_name(label, trial.replicate)


def payload_differences(stored: Payload, wanted: Payload, ignored: Iterable[str] = ()) -> list[str]:
    """The differences of two payloads of one kind, such as `recipe.epochs 30 -> 40`."""
    before, after = leaves(stored), leaves(wanted)
    paths = [path for path in dict.fromkeys([*after, *before]) if path not in ignored]
    changed = [path for path in paths if before.get(path, _MISSING) != after.get(path, _MISSING)]
    return [_describe(path, before, after) for path in changed]


def _describe(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if path in _DIGESTS:
        return f"{path}: {_DIGESTS[path]}"
    return f"{path} {_field_value(path, before)} -> {_field_value(path, after)}"


def _field_value(path: str, values: Mapping[str, Any]) -> Any:
    """The value of a field; where the payload leaves it out, its default."""
    if path in values:
        return values[path]
    block, _, name = path.partition(".")
    field = _PAYLOAD_BLOCKS[block].model_fields.get(name) if block in _PAYLOAD_BLOCKS else None
    return "none" if field is None else field.default
