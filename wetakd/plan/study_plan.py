"""What a study consists of, before any of it runs: networks, searches and students, each with its address.

A key is a hash of all that determines a result and of nothing else, so whatever lies on storage under its key need
never be computed again. Placement, retries and names are in no key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from wetakd.common.canonical_json import key_of, seed_of
from wetakd.common.user_functions import source_digest
from wetakd.config import (
    TEACHER,
    DistillationConfig,
    ModelConfig,
    NetworkConfig,
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
from wetakd.plan.trials import Arm, NetworkNode, Search, Student, Trial, device_of
from wetakd.training.precision import resolve_precision
from wetakd.training.trainer import RECIPE_VERSION
from wetakd.weights import entry_point_of

# Raise it when a search gives other weights than before: old results are then left alone and made anew.
SEARCH_VERSION = 2


class Plan:
    """Everything that `config` asks for on `dataset`."""

    def __init__(self, config: StudyConfig, dataset: Dataset) -> None:
        self.config = config
        self.dataset = dataset

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
            precision = resolve_precision(network.recipe.precision, device_of(network.placement))
            teacher_keys = tuple(keys[teacher] for teacher in teachers)
            if network.is_imported:
                keys[name] = self._import_key(name, network)
            else:
                keys[name] = self._training_key(
                    network.model,
                    network.recipe,
                    precision,
                    seed,
                    network.distillation if teachers else None,
                    [(key, 1 / len(teachers)) for key in teacher_keys],
                    workers=network.workers,
                )
            yield NetworkNode(name, replicate, seed, network, precision, keys[name], teachers, teacher_keys)

    def _import_key(self, name: str, network: NetworkConfig) -> str:
        """Of what a file says: the same in every replicate."""
        return key_of(
            {
                "kind": "import",
                "data": self.dataset.fingerprint,
                "views": self.config.views.model_dump(mode="json"),
                "model": network.model.model_dump(mode="json"),
                "source": source_digest(network.model.name),
                "file": external_digest(network, name),
            }
        )

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

    def search(self, trial: Trial) -> Search:
        """The search that gives a trial its weights; the trial's seed goes with it."""
        cache_keys = [self.node_of[trial.replicate, name].key for name in trial.arm.assistants]
        weights = self.config.weights.model_dump(mode="json")
        seed = seed_of("search", trial.replicate, trial.seed)
        payload = {
            "kind": "search",
            "version": SEARCH_VERSION,
            "banks": cache_keys,
            "strategy": trial.arm.strategy,
            "weights": weights,
            "seed": seed,
        }
        if (place := entry_point_of(trial.arm.strategy)) is not None:
            payload["source"] = source_digest(place, field="study.strategies")
        return Search(trial.arm.strategy, trial.arm.assistants, trial.replicate, seed, key_of(payload))

    def contributions_key(self, replicate: int) -> str:
        """Address of what each network of the pool adds to the ensemble."""
        cache_keys = [self.node_of[replicate, name].key for name in self.config.pool]
        mixture = {"mixture": self.config.weights.mixture, "temperature": self.config.weights.temperature}
        return key_of({"kind": "contributions", "version": SEARCH_VERSION, "banks": cache_keys, **mixture})

    def student(self, trial: Trial, weights_K: Iterable[float]) -> Student:
        """The student of a trial, once its weights are known. Networks of weight 0 do not teach, so are left out."""
        config = self.student_config(trial.arm.point)
        mixture = [
            (self.node_of[trial.replicate, name].key, float(weight))
            for name, weight in zip(trial.arm.assistants, weights_K, strict=True)
            if weight > 0
        ]
        precision = resolve_precision(config.recipe.precision, device_of(config.placement))
        distillation = config.distillation if mixture else None
        key = self._training_key(
            config.model, config.recipe, precision, trial.student_seed, distillation, mixture, workers=0
        )
        teacher_keys, weights = tuple(k for k, _ in mixture), tuple(w for _, w in mixture)
        return Student(key, config, precision, trial.student_seed, teacher_keys, weights)

    def student_config(self, point: SweepPoint) -> StudentConfig:
        """The student's block of the file with a swept point applied."""
        return student_at(self.config.student, point)

    def _training_key(
        self,
        model: ModelConfig,
        recipe: RecipeConfig,
        precision: str,
        seed: int,
        distillation: DistillationConfig | None,
        mixture: list[tuple[str, float]],
        workers: int | tuple[int, int],
    ) -> str:
        own_loss = source_digest(distillation.loss, field="distillation.loss") if distillation else None
        return key_of(
            {
                "kind": "training",
                "version": RECIPE_VERSION,
                "data": self.dataset.fingerprint,
                "views": self.config.views.model_dump(mode="json"),
                "model": model.model_dump(mode="json"),
                "source": source_digest(model.name),
                "recipe": recipe.model_dump(mode="json") | {"precision": precision},
                "seed": seed,
                "distillation": distillation.model_dump(mode="json") if distillation else None,
                "mixture": self.config.weights.mixture if len(mixture) > 1 else None,
                "teachers": [list(part) for part in mixture],
                "workers": workers if isinstance(workers, int) else list(workers),
            }
            | ({"loss": own_loss} if own_loss else {})
        )


def evenly(num: int) -> tuple[float, ...]:
    """Equal weights of `num` networks; of none, none."""
    return (1.0 / num,) * num if num else ()


def control_weights(trial: Trial) -> tuple[float, ...]:
    """Weights of a control, which nobody searches: equal over what it names."""
    return evenly(len(trial.arm.assistants))
