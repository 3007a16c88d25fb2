"""What a study consists of, before any of it runs: networks with their keys, arms and trials.

A key is a hash of everything that determines a result and of nothing else, so what is stored under its key is never
computed again. Placement, retries and names are in no key. See `key_payloads`; the keys of searches and students
depend on the logits of the networks (`result_keys`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType

from wetakd.common.canonical_json import key_of, seed_of
from wetakd.config import (
    TEACHER,
    RecipeConfig,
    StudentConfig,
    StudyConfig,
    SweepPoint,
    student_at,
    sweep_points,
)
from wetakd.config.controls import DGKD, NO_DISTILLATION, SINGLE, TEACHER_ALONE
from wetakd.data.dataset import Dataset
from wetakd.logits.external_networks import external_digest
from wetakd.plan.key_payloads import NETWORK_VERSION, import_payload, training_payload
from wetakd.plan.resolved_precision import AUTO, Precisions
from wetakd.plan.trials import Arm, NetworkNode, Trial


class Plan:
    """Everything that `config` asks for on `dataset`."""

    def __init__(self, config: StudyConfig, dataset: Dataset, precisions: Precisions = MappingProxyType({})) -> None:
        """`precisions`: what `precision: auto` stands for, where the file has it."""
        self.config = config
        self.dataset = dataset
        self.precisions = precisions

    @cached_property
    def nodes(self) -> list[NetworkNode]:
        """Every network of every replicate, teachers before pupils."""
        return [node for replicate in range(self.config.study.replicates) for node in self._replicate_nodes(replicate)]

    def _replicate_nodes(self, replicate: int) -> Iterable[NetworkNode]:
        keys: dict[str, str] = {}
        for name in self.config.training_order():
            network = self.config.networks[name]
            teachers = self.config.teachers_of(name)
            seed = seed_of("network", self.config.study.seed, replicate, name)
            teacher_keys = tuple(keys[teacher] for teacher in teachers)
            if network.is_imported:
                precision = ""
                payload = import_payload(
                    network,
                    data=self.dataset.fingerprint,
                    views=self.config.views,
                    file=external_digest(network, name),
                )
            else:
                precision = self.precision_of(name, network.recipe)
                payload = training_payload(
                    "network",
                    NETWORK_VERSION,
                    data=self.dataset.fingerprint,
                    views=self.config.views,
                    model=network.model,
                    recipe=network.recipe,
                    precision=precision,
                    seed=seed,
                    distillation=network.distillation if teachers else None,
                    mixture=self.config.weights.mixture,
                    teachers=list(zip(teacher_keys, evenly(len(teachers)), strict=True)),
                    workers=network.workers,
                )
            keys[name] = key_of(payload)
            yield NetworkNode(name, replicate, seed, network, precision, keys[name], teachers, payload)

    @cached_property
    def node_of(self) -> Mapping[tuple[int, str], NetworkNode]:
        """Nodes by (replicate, name)."""
        return {(node.replicate, node.name): node for node in self.nodes}

    @cached_property
    def points(self) -> list[SweepPoint]:
        """Every combination of swept values, in a fixed order."""
        return sweep_points(self.config.study)

    @cached_property
    def arms(self) -> list[Arm]:
        """Every recipe under comparison: controls first, then the strategies by subset."""
        study, pool = self.config.study, self.config.pool
        subsets = self.config.subsets
        singles = {s for s in subsets if len(s) == 1} | (
            {(name,) for name in pool} if SINGLE in study.controls else set()
        )
        recipes: list[tuple[str, tuple[str, ...]]] = (
            [(NO_DISTILLATION, ())] if NO_DISTILLATION in study.controls else []
        )
        recipes += [(TEACHER_ALONE, (TEACHER,))] if TEACHER_ALONE in study.controls else []
        # One network leaves nothing to weigh, so a subset of one is the control `single` (TAKD), whatever the strategy.
        recipes += [(SINGLE, (name,)) for name in pool if (name,) in singles and name != TEACHER]
        recipes += [(DGKD, (TEACHER, *self.config.assistants))] if DGKD in study.controls else []
        recipes += [(strategy, subset) for subset in subsets if len(subset) > 1 for strategy in study.strategies]
        return [Arm(strategy, names, point) for point in self.points for strategy, names in recipes]

    @cached_property
    def trials(self) -> list[Trial]:
        """Every arm with every seed in every replicate."""
        study = self.config.study
        return [
            Trial(arm, replicate, seed)
            for replicate in range(study.replicates)
            for arm in self.arms
            for seed in study.seeds
        ]

    def student_config(self, point: SweepPoint) -> StudentConfig:
        """The student's block of the file with a swept point applied."""
        return student_at(self.config.student, point)

    def precision_of(self, name: str, recipe: RecipeConfig) -> str:
        """The precision that a network (by name), or `student`, is trained in.

        Raises ValueError for `auto` where the plan was made without what it stands for.
        """
        if recipe.precision != AUTO:
            return recipe.precision
        if name not in self.precisions:
            raise ValueError(f"{name}: precision auto is not resolved")
        return self.precisions[name].precision


def evenly(num: int) -> tuple[float, ...]:
    """Equal weights of `num` networks; of none, none."""
    return (1.0 / num,) * num if num else ()


def control_weights(trial: Trial) -> tuple[float, ...]:
    """Weights of a control, which nobody searches: equal over what it names."""
    return evenly(len(trial.arm.assistants))
