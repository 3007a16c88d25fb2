"""The blocks `study`, `weights`, `mlflow` and `limits`: what is compared, how it is weighed, what surrounds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, field_validator, model_validator

from wetakd.common.strategy_names import DE, UNIFORM
from wetakd.config.controls import CONTROLS, Control
from wetakd.config.field_types import Model, Name, NonNegative, Plain, Positive, Seed, Switch, Text, named_once
from wetakd.config.validation_messages import value_text


def _strategy(value: str) -> str:
    """`value`; raises ValueError unless it is ours or an installed package's."""
    from wetakd.weights import STRATEGIES  # not above: only those who read a study file pay for scipy

    if value not in STRATEGIES:
        others = sorted(entry_points(group="wetakd.strategies").names - {*CONTROLS, *STRATEGIES})
        if value not in others:
            known = ", ".join(map(repr, (*STRATEGIES, *others)))
            raise ValueError(f"{value!r} must be one of {known}; an installed package may offer others")
    return value


def _default_strategies() -> tuple[str, ...]:
    from wetakd.weights import STRATEGIES

    return tuple(name for name, strategy in STRATEGIES.items() if strategy.in_every_study)


def _show_default_strategies(schema: dict[str, Any]) -> None:
    schema["default"] = list(_default_strategies())


StrategyName = Annotated[str, AfterValidator(_strategy)]
_Names = Annotated[tuple[Text, ...], Field(min_length=1), AfterValidator(named_once)]


MOST_VALUES = 10_000
"""Seeds, sets of networks and swept points that a study may have of each; more is a slip of the hand."""


def _count_or_list(value: Any) -> Any:
    """`seeds: 3` means `seeds: [0, 1, 2]`."""
    if isinstance(value, list | tuple):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"must be a whole number or a list of them, got {value_text(value)}")
    if not 1 <= value <= MOST_VALUES:
        raise ValueError(f"must be {'at least 1' if value < 1 else f'at most {MOST_VALUES}'}, got {value_text(value)}")
    return tuple(range(value))


class WeightsConfig(Model):
    """How the ensemble weights are searched. The search sees the split weigh and nothing else."""

    objective: Literal["accuracy", "log_loss"] = Field("accuracy", description="what de, random_search, greedy seek")
    mixture: Literal["probabilities", "logits"] = Field("probabilities", description="what is averaged")
    temperature: Positive = Field(1.0, description="softmax temperature that the weights are fitted at")
    engine: Literal["fast", "scipy"] = Field("fast", description="of differential evolution")
    max_evaluations: Annotated[int, Field(ge=1)] | None = Field(None, description="cap on candidates, for all")


class ContrastConfig(Model):
    """The one comparison that is declared before the study; over the whole pool."""

    strategy: StrategyName = Field(DE, description="one of `study.strategies`")
    against: StrategyName = Field(UNIFORM, description="what it is held against")

    @model_validator(mode="after")
    def _check(self) -> ContrastConfig:
        if self.strategy == self.against:
            raise ValueError(f"against: {self.against!r} is the strategy itself; name another")
        return self


class Sweep(Model):
    """Values of one swept field: a grid, or a distribution to draw from."""

    grid: Annotated[tuple[Plain, ...], Field(min_length=1)] | None = Field(None, description="every value is tried")
    uniform: tuple[FiniteFloat, FiniteFloat] | None = Field(None, description="draw evenly between low and high")
    loguniform: tuple[Positive, Positive] | None = Field(None, description="draw evenly in the logarithm")

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        given = [name for name in ("grid", "uniform", "loguniform") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs one of grid, uniform, loguniform, not {given or 'none'}")
        span = self.uniform or self.loguniform
        if span and span[0] >= span[1]:
            raise ValueError(f"{given[0]}: {list(span)} must be [low, high], low below high")
        return self


class HalvingConfig(Model):
    """Synchronous successive halving over the swept points: ASHA's rungs, but independent of timing."""

    min_epochs: Annotated[int, Field(ge=1)] = Field(description="epochs of the first rung")
    factor: Annotated[int, Field(ge=2)] = Field(3, description="one in so many goes on to the next rung")


class StudyBlock(Model):
    """What is compared."""

    name: Name = Field(description="names the study's folder and MLflow run")
    seed: Seed = Field(0, description="root of the seeds of teacher and assistants")
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_count_or_list), Field(min_length=1, max_length=MOST_VALUES)] = (
        Field((0, 1, 2), description="student seeds, paired across arms; a number n means 0..n-1")
    )
    replicates: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="repeats of teacher, assistants and weights with new seeds"
    )
    strategies: Annotated[tuple[StrategyName, ...], Field(min_length=1)] = Field(
        default_factory=_default_strategies,
        json_schema_extra=_show_default_strategies,
        description="ways to set the weights: built-in ones (also `best_single`), or those of installed packages",
    )
    subsets: Literal["all"] | tuple[Annotated[int, Field(ge=1)], ...] | tuple[_Names, ...] = Field(
        "all", description="`all`, a list of counts such as [2, 3], or a list of lists of names"
    )
    pool: _Names | None = Field(
        None, description="assistants that may be mixed; default: all but those with `trained_on` train or unknown"
    )
    pool_includes_teacher: Switch = Field(False, description="let the teacher join the pool")
    controls: tuple[Control, ...] = Field(
        CONTROLS,
        description="students without distillation, of the teacher, of each assistant, of teacher and all assistants",
    )
    primary: ContrastConfig | None = Field(
        None,
        description="declared before the study; default: `de` against `uniform` where both are in `strategies`",
    )
    sweep: Mapping[str, Sweep] = Field({}, description="`student.…` fields with the values to try")
    sweep_samples: Annotated[int, Field(ge=1, le=MOST_VALUES)] = Field(
        1, description="draws from the swept distributions"
    )
    halving: HalvingConfig | None = None
    max_concurrent: Annotated[int, Field(ge=1)] | None = Field(None, description="trials at once; default: what fits")

    @model_validator(mode="after")
    def _check(self) -> StudyBlock:
        num_points = math.prod(len(sweep.grid) for sweep in self.sweep.values() if sweep.grid) * self.sweep_samples
        if num_points > MOST_VALUES:
            raise ValueError(f"sweep: {num_points:,} points; at most {MOST_VALUES:,} can be swept")
        self._check_primary()
        if self.halving and not self.sweep:
            raise ValueError("halving: needs study.sweep, for only swept points may be stopped early")
        return self

    def _check_primary(self) -> None:
        named = {} if self.primary is None else {"strategy": self.primary.strategy, "against": self.primary.against}
        for field, strategy in named.items():
            if strategy not in self.strategies:
                raise ValueError(
                    f"primary.{field}: must be one of study.strategies ({', '.join(self.strategies)}), got {strategy!r}"
                )

    @property
    def declared(self) -> tuple[str, str] | None:
        """The declared comparison, a strategy and what it is compared with; None where there is none."""
        if self.primary is not None:
            return self.primary.strategy, self.primary.against
        default = ContrastConfig()
        both = (default.strategy, default.against)
        return both if set(both) <= set(self.strategies) else None

    @field_validator("seeds", "strategies", "controls")
    @classmethod
    def _check_named_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        return named_once(values)


class MlflowConfig(Model):
    """Where the study is shown."""

    enabled: Switch = Field(True, description="whether MLflow hears of the study at all")
    tracking_uri: Text | None = Field(None, description="default: SQLite beside a local storage")
    experiment: Text = Field("wetakd", description="name of the experiment")
    register_as: Annotated[str, Field(pattern=r"^[^/:]+$")] | None = Field(
        None, description="register the winner under this model name, without / and :"
    )
    system_metrics: Switch = Field(False, description="also log how busy the driver's machine and the cluster are")


class LimitsConfig(Model):
    """When to try again and when to give up."""

    retries: Annotated[int, Field(ge=0, le=1000)] = Field(3, description="of work lost to a dead process or node")
    silent_s: Annotated[float, Field(ge=3, allow_inf_nan=False)] = Field(  # a beat comes every 2 s at most
        1800.0, description="seconds without a heartbeat after which a worker is killed; longer than any step or search"
    )
    first_step_s: Positive = Field(
        3600.0, description="the same before the first step: imports, compilation, transfer of the data"
    )
    memory_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="share of this machine's free memory that the decoded images may take"
    )
    checkpoint_s: NonNegative = Field(30.0, description="least seconds between two checkpoints of a network")
