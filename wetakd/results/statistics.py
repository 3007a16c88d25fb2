"""Statistics that claim no more than the students show: paired estimates, corrections, power, ranks, scores.

Student seeds are paired across arms: a value belongs to a (replicate, seed) pair, never to a row's position. With
several replicates the replicate is the unit, for its students share teacher and assistants; with one it is the seed,
and whatever is said holds for these assistants only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Pair = tuple[int, int]
"""(replicate, seed)."""
FloatArray = npt.NDArray[np.float64]

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 10_000
# Differences of accuracies below this are rounding: one test image in a billion would make more.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean over `num` independent units (seeds, or replicates), with its t interval and test against 0."""

    mean: float
    sd: float | None
    """Standard deviation between units; None for one unit."""
    num: int
    unit: str
    """`seed` or `replicate`."""

    @property
    def half_width(self) -> float | None:
        """Half the 95 % interval; None for one unit, and for units that do not vary at all (they only seem sure)."""
        if self.sd is None or self.sd <= _ROUNDING:
            return None
        return float(special.stdtrit(self.num - 1, 0.5 + CONFIDENCE / 2)) * self.sd / math.sqrt(self.num)

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval."""
        return None if self.half_width is None else self.mean + self.half_width

    @property
    def p_value(self) -> float | None:
        """Two-sided p of a mean of 0 (t test); None where there is no interval."""
        if self.sd is None or self.half_width is None:
            return None
        return float(2 * special.stdtr(self.num - 1, -abs(self.mean) * math.sqrt(self.num) / self.sd))

    @property
    def num_needed(self) -> int | None:
        """Units needed to tell a mean of this size from 0; see `seeds_needed`."""
        return None if self.half_width is None or self.sd is None else seeds_needed(self.mean, self.sd)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        derived = {"low": self.low, "high": self.high, "p_value": self.p_value, "num_needed": self.num_needed}
        return asdict(self) | derived


def estimate(values: Mapping[Pair, float], *, by_replicate: bool) -> Estimate | None:
    """Mean and spread of values by pair; None of none. `by_replicate`: the mean of each replicate is one unit."""
    ordered = [values[pair] for pair in sorted(values)]
    if by_replicate:
        replicates = sorted({replicate for replicate, _ in values})
        ordered = [exact_mean([values[p] for p in sorted(values) if p[0] == replicate]) for replicate in replicates]
    if not ordered:
        return None
    sd = float(np.std(ordered, ddof=1)) if len(ordered) > 1 else None
    return Estimate(exact_mean(ordered), sd, len(ordered), "replicate" if by_replicate else "seed")


def paired_difference(
    values: Mapping[Pair, float], others: Mapping[Pair, float], *, by_replicate: bool
) -> Estimate | None:
    """`values` minus `others` over the pairs that both have; None where they share none."""
    shared = values.keys() & others.keys()
    return estimate({pair: values[pair] - others[pair] for pair in shared}, by_replicate=by_replicate)


def exact_mean(values: Sequence[float]) -> float:
    """Mean that does not depend on the order of `values`, because fsum rounds once."""
    return math.fsum(values) / len(values)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down corrected p values, in the order given."""
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def seeds_needed(mean: float, sd: float) -> int | None:
    """Pairs with which a two-sided paired t test (5 %) finds a true difference `mean` with power 0.8.

    Exact, by the noncentral t distribution. `mean` and `sd` are themselves estimates, so it is a rough number. None
    where more than 10,000 would be needed.
    """
    effect = abs(mean) / sd if sd > 0 else math.inf
    low, high = 2, MOST_SEEDS
    if _power(effect, high) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(effect, middle) >= POWER else (middle + 1, high)
    return low


def detectable_effect(num: int) -> float:
    """Least difference, in standard deviations between pairs, that `num` >= 2 pairs find with power 0.8."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _power(middle, num) >= POWER else (middle, high)
    return high


def _power(effect: float, num: int) -> float:
    """Power of the two-sided paired t test at 5 % for a difference of `effect` standard deviations."""
    noncentrality = effect * math.sqrt(num)
    critical = float(special.stdtrit(num - 1, 0.5 + CONFIDENCE / 2))
    upper, lower = (float(special.nctdtr(num - 1, noncentrality, side)) for side in (critical, -critical))
    # The distribution function underflows to NaN far out in its lower tail.
    return 1.0 - (0.0 if math.isnan(upper) else upper) + (0.0 if math.isnan(lower) else lower)
