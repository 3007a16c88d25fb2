"""What a strategy is: the contract that every way of choosing weights keeps."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from wetakd.errors import UserError
from wetakd.weights.scores import Floats

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem

Objective = Literal["accuracy", "log_loss"]
Engine = Literal["fast", "scipy"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to search; a strategy ignores what it has no use for."""

    seed: int = 0
    objective: Objective = "accuracy"
    engine: Engine = "fast"
    max_evaluations: int | None = None
    random_draws: int | None = None


@dataclass(frozen=True)
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

    @abstractmethod
    def find(self, problem: "Problem", options: Options) -> Found:
        """Choose weights for `problem`."""


def best_of(problem: "Problem", candidates_MK: Floats, options: Options) -> Found:
    """The first best of the candidates, within the evaluations allowed."""
    allowed_MK = candidates_MK[: options.max_evaluations]
    losses_M = problem.losses(allowed_MK, options.objective)
    return Found(allowed_MK[int(np.argmin(losses_M))], len(allowed_MK))


def checked_options(**values: Any) -> Options:
    """The options, or UserError for one that is none of the known words or out of range."""
    for name, known in (("objective", get_args(Objective)), ("engine", get_args(Engine))):
        if values[name] not in known:
            raise UserError(f"{name}: {values[name]!r} is none of {', '.join(known)}")
    for name, least in (("seed", 0), ("max_evaluations", 1), ("random_draws", 1)):
        value = values[name]
        if value is None and name != "seed":
            continue
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise UserError(f"{name}: {value!r} is not an integer from {least} up")
    return Options(**values)
