"""The whole file, and how its blocks must fit together."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from wetakd.common.canonical_json import key_of
from wetakd.common.leaves import leaves, texts_in
from wetakd.config.data_config import DataConfig, SplitsConfig, TransformConfig, ViewsConfig
from wetakd.config.field_types import Model, Name, Text
from wetakd.config.network_config import TORCHVISION, NetworkConfig, StudentConfig
from wetakd.config.study_block import MOST_VALUES, LimitsConfig, MlflowConfig, StudyBlock, WeightsConfig
from wetakd.config.sweep import check_sweep

TEACHER = "teacher"
STUDENT = "student"
_FUNCTION = re.compile(r"[^/]+:[^/]+")


def block_of(name: str) -> str:
    """The block of the file that describes the network `name`, as messages call it."""
    return name if name == TEACHER else f"assistants.{name}"


class StudyConfig(Model):
    """A whole study file."""

    study: StudyBlock
    data: DataConfig = Field(description="where the images come from")
    splits: SplitsConfig = SplitsConfig()
    transform: TransformConfig = TransformConfig()
    views: ViewsConfig = ViewsConfig()
    teacher: NetworkConfig
    assistants: Annotated[Mapping[Name, NetworkConfig], Field(min_length=1)]
    student: StudentConfig
    weights: WeightsConfig = WeightsConfig()
    storage: Text = Field("./runs", description="folder or URI (s3://, gs://) that keeps everything")
    mlflow: MlflowConfig = MlflowConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _check(self) -> StudyConfig:
        reserved = {TEACHER, STUDENT} & set(self.assistants)
        if reserved:
            raise ValueError(f"assistants.{min(reserved)}: the name is taken; choose another")
        for name, network in self.networks.items():
            for teacher in self.teachers_of(name):
                if teacher not in self.networks:
                    raise ValueError(
                        f"{block_of(name)}.taught_by: {teacher!r} is not a network; choose from {list(self.networks)}"
                    )
            if isinstance(network.workers, tuple) and network.workers[0] > network.workers[1]:
                raise ValueError(f"{block_of(name)}.workers: {list(network.workers)} must be [min, max], min <= max")
        self.training_order()
        self._check_pool()
        check_sweep(self.study, self.student)
        return self

    def _check_pool(self) -> None:
        for name in self.study.pool or ():
            if name not in self.assistants:
                raise ValueError(f"study.pool: {name!r} is not an assistant; choose from {list(self.assistants)}")
        pool = self.pool
        if not pool:
            raise ValueError(
                "study.pool: no assistant is left, for all (may) have seen the training images; name those to mix"
            )
        for subset in self.study.subsets if self.study.subsets != "all" else ():
            if isinstance(subset, int) and subset > len(pool):
                raise ValueError(f"study.subsets: {subset} assistants asked for, but the pool has {len(pool)}")
            for name in subset if isinstance(subset, tuple) else ():
                if name not in pool:
                    raise ValueError(f"study.subsets: {name!r} is not in the pool {list(pool)}")
        if (num_subsets := self._num_subsets) > MOST_VALUES:
            raise ValueError(
                f"study.subsets: {num_subsets:,} sets of networks; at most {MOST_VALUES:,} can be compared"
            )

    @property
    def _num_subsets(self) -> int:
        """How many subsets the file asks for, at most, without making them."""
        wanted, num_pool = self.study.subsets, len(self.pool)
        counts = range(1, num_pool + 1) if wanted == "all" else wanted
        return sum(math.comb(num_pool, item) if isinstance(item, int) else 1 for item in counts)

    @property
    def networks(self) -> dict[str, NetworkConfig]:
        """The teacher and the assistants by name, in the order of the file."""
        return {TEACHER: self.teacher, **self.assistants}

    def teachers_of(self, name: str) -> tuple[str, ...]:
        """Names of the networks that teach `name`: its `taught_by`, or the default of its kind."""
        network = self.networks[name]
        if network.taught_by is not None:
            return network.taught_by
        return () if name == TEACHER or network.is_imported else (TEACHER,)

    def training_order(self) -> list[str]:
        """Network names with every teacher before its pupils; raises ValueError on a cycle."""
        order: list[str] = []
        waiting = list(self.networks)
        while waiting:
            ready = [name for name in waiting if all(teacher in order for teacher in self.teachers_of(name))]
            if not ready:
                raise ValueError(f"taught_by: {waiting} teach each other in a circle; break it")
            order += ready
            waiting = [name for name in waiting if name not in ready]
        return order

    @property
    def pool(self) -> tuple[str, ...]:
        """Names of the networks that may be mixed, in the order of the file.

        Who has probably seen the images that fit the weights is left out, unless it is named.
        """
        named = self.study.pool
        if named is None:
            seen = ("train", "unknown")
            named = tuple(name for name, network in self.assistants.items() if network.trained_on not in seen)
        chosen = [name for name in self.assistants if name in named]
        return (TEACHER, *chosen) if self.study.pool_includes_teacher else tuple(chosen)

    @property
    def subsets(self) -> list[tuple[str, ...]]:
        """Subsets of the pool to compare, small ones first, the whole pool always among them."""
        wanted, pool = self.study.subsets, self.pool
        if wanted == "all":
            found = [s for n in range(1, len(pool) + 1) for s in itertools.combinations(pool, n)]
        else:
            found = [
                subset
                for item in wanted
                for subset in (
                    itertools.combinations(pool, item)
                    if isinstance(item, int)
                    else [tuple(name for name in pool if name in item)]
                )
            ]
        return sorted(set(found) | {pool}, key=lambda subset: (len(subset), [pool.index(name) for name in subset]))

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Fields whose values give other results than those of another file, in dotted form.

        `other`: plain data of the other file with its defaults. Where things run and are shown makes no difference:
        `placement` of a network, `storage`, `mlflow`, `limits` and `study.max_concurrent`.
        """
        mine, theirs = _result_fields(self.model_dump(mode="json")), _result_fields(other)
        return [
            field for field in {**mine, **theirs} if key_of({"": mine.get(field)}) != key_of({"": theirs.get(field)})
        ]

    @property
    def question(self) -> str:
        """8 hex digits, the same for two files exactly if there are no `differences` between them."""
        return key_of(_result_fields(self.model_dump(mode="json")))[:8]

    @property
    def functions(self) -> dict[str, str]:
        """What the file names in the form `package.module:function`, by field: running the file may run it."""
        values = leaves(self.model_dump(mode="json", exclude={"storage", "mlflow"}))
        texts = ((field, text) for field, value in values.items() for text in texts_in(value))
        return {field: text for field, text in texts if _is_function(field, text)}


def _is_function(field: str, text: str) -> bool:
    # As `ModelConfig.is_function`. Elsewhere `torchvision:x` is a function of that package, too.
    if field.endswith(".model.name"):
        return ":" in text and not text.startswith(TORCHVISION)
    return _FUNCTION.fullmatch(text) is not None


def _result_fields(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What of a file decides its results, by dotted path; a field that is null is as good as none."""
    return {field: value for field, value in leaves(tree).items() if value is not None and not _is_elsewhere(field)}


def _is_elsewhere(field: str) -> bool:
    """Whether a field says where things run or are shown. Decided by its place: an option may have any name."""
    block, _, rest = field.partition(".")
    if block == "assistants":
        rest = rest.partition(".")[2]
    if block in ("teacher", "assistants", STUDENT):
        return rest.partition(".")[0] == "placement"
    return block in ("storage", "mlflow", "limits") or field == "study.max_concurrent"
