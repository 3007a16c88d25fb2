"""What a strategy is: the contract that every way of choosing weights keeps."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, Literal, get_args

from wetakd.common.errors import UserError
from wetakd.weights.ensemble_problem import Objective, Problem
from wetakd.weights.network_scores import Floats, check_choice

Engine = Literal["fast", "scipy"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to search; a strategy ignores what it has no use for.

    Raises:
        UserError: an unknown word, a number that is no integer or out of range.
    """

    seed: int = 0
    """Of everything random."""
    objective: Objective = "accuracy"
    """What to minimise: the exact count of wrong samples, or the mixture's log-loss."""
    engine: Engine = "fast"
    """Of `de`: "scipy" has the bit-exact population of the tutorial's call."""
    max_evaluations: int | None = None
    """Hard limit on the candidates evaluated."""
    random_draws: int | None = None
    """Of `random_search`; None: as many as `de` uses with the same seed, which is run to learn it."""

    def __post_init__(self) -> None:
        for name, known in (("objective", get_args(Objective)), ("engine", get_args(Engine))):
            check_choice(name, getattr(self, name), known)
        for name, least in (("seed", 0), ("max_evaluations", 1), ("random_draws", 1)):
            value = getattr(self, name)
            if value is None and name != "seed":
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise UserError(f"{name}: {value!r} is not an integer from {least} up")
            object.__setattr__(self, name, int(value))  # JSON knows no numpy integers


@dataclass(frozen=True, eq=False)
class Found:
    """What a strategy hands back: non-negative float64 weights of any positive scale, and what they cost."""

    weights_K: Floats
    evaluations: int
    """Candidates whose objective was computed, whatever the batching."""
    warnings: tuple[str, ...] = ()


class Strategy(ABC):
    """A way to choose weights. Stateless, so that one object serves every search and pickles.

    The same problem and options must give the same weights, to the last bit: in another process, and whatever the
    number of BLAS threads. `problem` is never written to. `options.max_evaluations` is a hard limit.
    """

    name: ClassVar[str]
    """As users write it."""
    objective: ClassVar[Objective | None] = None
    """The objective it always minimises; None: the one asked for."""

    in_every_study: ClassVar[bool] = True
    """Whether a study whose file names no strategies compares it."""

    @abstractmethod
    def find(self, problem: Problem, options: Options) -> Found:
        """Choose weights for `problem`."""
