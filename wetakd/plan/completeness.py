"""Whether everything in a plan is stored already."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from wetakd.common.errors import UserError
from wetakd.plan.result_keys import ResultKeys, cache_key, evaluation_key
from wetakd.plan.study_plan import Plan
from wetakd.plan.study_references import (
    references_of,
)
from wetakd.plan.trials import NetworkNode, Trial
from wetakd.results import columns
from wetakd.results.stored_results import Results
from wetakd.storage import failure_records
from wetakd.storage.addresses import (
    WEIGHTS_BLOB,
    evaluation_address,
    logit_cache_address,
    network_address,
    search_address,
    student_address,
)
from wetakd.storage.atomic_store import Store


def is_complete(store: Store, plan: Plan) -> bool:
    """Whether storage holds all that the plan asks for, undamaged, with its results: to run it would do nothing.

    A recorded failure counts as done if the results have it as a failure, too, and so does a student that the results
    have as pruned.
    """
    try:
        results = Results.read(store, plan.config.study.name)
        if results.question != plan.config.question or not references_of(store, plan.config.study.name):
            return False
    except UserError:
        return False
    pruned = results.trials.loc[results.trials[columns.STOPPED_AT_EPOCH].notna(), columns.STUDENT_KEY]
    digests = dict(zip(results.trials[columns.STUDENT_KEY], results.trials[columns.STUDENT_DIGEST], strict=True))
    outcomes = _Outcomes(store, plan, set(pruned), digests)
    if None in outcomes.failed.values():
        return False
    shown = {_place_of_row(row) for row in results.trials[results.trials[columns.ERROR].notna()].to_dict("records")}
    return shown == {_place_of_trial(trial) for trial, failed in outcomes.failed.items() if failed}


def has_network(store: Store, plan: Plan, name: str) -> bool:
    """Whether no task of the network `name` is left in any replicate.

    Each is stored undamaged with its logits, or its failure is recorded.
    """
    return all(_network_failed(store, node) is not None for node in plan.nodes if node.name == name)


def has_students(store: Store, plan: Plan) -> bool:
    """Whether no student is left to train: each is stored, or its failure is recorded."""
    keys = ResultKeys.stored(store, plan)
    for trial in plan.trials:
        student = keys.stored_student(store, trial)
        if student is None:
            return False
        address = student_address(student.key)
        if store.find(address) is None and failure_records.find_failure(store, address) is None:
            return False
    return True


def _network_failed(store: Store, node: NetworkNode) -> bool | None:
    """False where a network is intact with its logit cache, True where its failure is recorded, else None."""
    manifest = store.find_intact(network_address(node.key))
    if manifest is not None and store.find_intact(logit_cache_address(cache_key(node, manifest))) is not None:
        return False
    return True if failure_records.find_failure(store, network_address(node.key)) is not None else None


def _place_of_row(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return (
        row[columns.STRATEGY],
        tuple(row[columns.ASSISTANTS]),
        row[columns.POINT],
        row[columns.REPLICATE],
        row[columns.SEED],
    )


def _place_of_trial(trial: Trial) -> tuple[Any, ...]:
    return trial.arm.strategy, trial.arm.assistants, trial.arm.point.to_json(), trial.replicate, trial.seed


class _Outcomes:
    """How each trial of a plan ended, as far as storage knows."""

    def __init__(self, store: Store, plan: Plan, pruned: Set[str], digests: Mapping[str, str]) -> None:
        """`digests`: SHA-256 of the weights of each student (by key) that the results describe."""
        self._store, self._plan, self._pruned, self._digests = store, plan, pruned, digests
        self._keys = ResultKeys.stored(store, plan)
        self._students: dict[str, bool | None] = {}
        self._networks: dict[tuple[int, str], bool | None] = {}
        for node in plan.nodes:
            teachers = [self._networks[node.replicate, name] for name in node.teachers]
            failed = True if True in teachers else _network_failed(store, node)
            self._networks[node.replicate, node.name] = failed
        self.failed = {trial: self._trial(trial) for trial in plan.trials}
        """Whether a trial failed; None where that is not known yet, or a part of it is missing or damaged."""
        if None in self._networks.values():
            self.failed = dict.fromkeys(plan.trials)

    def _trial(self, trial: Trial) -> bool | None:
        if any(self._networks[trial.replicate, name] for name in trial.arm.assistants):
            return True
        if not self._keys.has_caches(trial):
            return None
        student = self._keys.stored_student(self._store, trial)
        if student is None:
            search = search_address(self._keys.search(trial).key)
            return True if failure_records.find_failure(self._store, search) is not None else None
        if student.key in self._pruned:
            return False
        if student.key not in self._students:
            self._students[student.key] = self._student_failed(student.key)
        return self._students[student.key]

    def _student_failed(self, key: str) -> bool | None:
        """False where a student and its evaluation are intact, True where its failure is recorded, else None."""
        manifest = self._store.find_intact(student_address(key))
        if manifest is None:
            return True if failure_records.find_failure(self._store, student_address(key)) is not None else None
        if manifest.blobs[WEIGHTS_BLOB].sha256 != self._digests.get(key):
            return None  # trained again, on a device that is not deterministic
        evaluation = evaluation_address(evaluation_key(key, manifest, self._plan.dataset))
        return False if self._store.find_intact(evaluation) is not None else None
