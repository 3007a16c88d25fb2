"""Statistics that claim no more than the students show: paired estimates, corrections, power, ranks, scores.

Student seeds are paired across arms: a value belongs to a (replicate, seed) pair, never to a row's position. With
several replicates the replicate is the unit, for its students share teacher and assistants; with one it is the seed,
and whatever is said holds for these assistants only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from wetakd.weights import STRATEGIES

if TYPE_CHECKING:
    import pandas as pd

Pair = tuple[int, int]
"""(replicate, seed)."""
Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 10_000
CALIBRATION_BINS = 15
# Differences of accuracies below this are rounding: one test image in a billion would make more.
_ROUNDING = 1e-12
_NUM_PERMUTATIONS = 9_999
_MOST_ENUMERATED = 7


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
        ordered = [_mean([values[p] for p in sorted(values) if p[0] == replicate]) for replicate in replicates]
    if not ordered:
        return None
    sd = float(np.std(ordered, ddof=1)) if len(ordered) > 1 else None
    return Estimate(_mean(ordered), sd, len(ordered), "replicate" if by_replicate else "seed")


def paired_difference(
    values: Mapping[Pair, float], others: Mapping[Pair, float], *, by_replicate: bool
) -> Estimate | None:
    """`values` minus `others` over the pairs that both have; None where they share none."""
    shared = values.keys() & others.keys()
    return estimate({pair: values[pair] - others[pair] for pair in shared}, by_replicate=by_replicate)


def _mean(values: Sequence[float]) -> float:
    # fsum rounds once, so the mean depends on no order of addition.
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


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho over `num` points, its 95 % interval and a permutation p (two-sided)."""

    rho: float
    low: float | None
    high: float | None
    p_value: float
    num: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return asdict(self)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation | None:
    """Spearman's rank correlation; None for fewer than 3 points or where one side does not vary.

    Interval: Fisher's z with the standard error of Bonett and Wright (2000), from 5 points on. p: all permutations up
    to 7 points, else 9,999 drawn with a fixed seed. The order of the points does not matter.
    """
    order = np.lexsort((np.asarray(y, dtype=float), np.asarray(x, dtype=float)))
    ranks_x, ranks_y = (stats.rankdata(np.asarray(side, dtype=float)[order]) for side in (x, y))
    num = len(order)
    if num < 3 or np.ptp(ranks_x) == 0 or np.ptp(ranks_y) == 0:
        return None
    centred_x, centred_y = ranks_x - ranks_x.mean(), ranks_y - ranks_y.mean()
    scale = float(np.linalg.norm(centred_x) * np.linalg.norm(centred_y))
    rho = float(np.clip(centred_x @ centred_y / scale, -1.0, 1.0))
    reached = np.abs(_permuted(centred_y) @ centred_x) / scale >= abs(rho) - 1e-9
    p_value = float(reached.mean()) if num <= _MOST_ENUMERATED else float((1 + reached.sum()) / (1 + reached.size))
    low, high = _fisher_interval(rho, num)
    return RankCorrelation(rho, low, high, p_value, num)


def _permuted(values: Floats) -> Floats:
    if len(values) <= _MOST_ENUMERATED:
        return np.array(list(itertools.permutations(values)))
    return np.random.default_rng(0).permuted(np.tile(values, (_NUM_PERMUTATIONS, 1)), axis=1)


def _fisher_interval(rho: float, num: int) -> tuple[float | None, float | None]:
    if num < 5 or abs(rho) >= 1 - 1e-9:
        return None, None
    half = float(special.ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt((1 + rho**2 / 2) / (num - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


@dataclass(frozen=True)
class Scores:
    """How good a classifier is on one split."""

    accuracy: float
    macro_accuracy: float
    """Mean over the classes present of the accuracy within the class."""
    calibration_error: float
    """Expected calibration error over 15 equal-width bins of the top probability (Guo et al. 2017, equation 3)."""
    nll: float
    """Mean negative log-likelihood of the label, nats."""


def classification_scores(logits_NC: npt.NDArray[Any], labels_N: npt.NDArray[Any]) -> Scores:
    """Scores of `logits_NC` (any float) against integer `labels_N`; raises ValueError for no samples."""
    if len(labels_N) == 0 or len(logits_NC) != len(labels_N):
        raise ValueError(f"needs one label a sample and at least one: {len(logits_NC)} samples, {len(labels_N)} labels")
    log_probabilities_NC = special.log_softmax(np.asarray(logits_NC, dtype=np.float64), axis=1)
    correct_N = np.asarray(logits_NC).argmax(axis=1) == labels_N
    return Scores(
        accuracy=float(correct_N.mean()),
        macro_accuracy=float(np.mean([correct_N[labels_N == label].mean() for label in np.unique(labels_N)])),
        calibration_error=_calibration_error(np.exp(log_probabilities_NC.max(axis=1)), correct_N),
        nll=float(-log_probabilities_NC[np.arange(len(labels_N)), labels_N].mean()),
    )


def _calibration_error(confidence_N: Floats, correct_N: npt.NDArray[np.bool_]) -> float:
    bins_N = np.clip(np.ceil(confidence_N * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gap_B = np.bincount(bins_N, correct_N - confidence_N, minlength=CALIBRATION_BINS)
    return float(np.abs(gap_B).sum() / len(confidence_N))


# Order of arms that are otherwise equal: the simplest recipe first. A strategy from elsewhere comes last, by name.
STRATEGY_ORDER = ("none", "single", "teacher", *STRATEGIES, "dgkd")


def arm_order(strategy: str, assistants: Sequence[str], point: str = "{}") -> tuple[Any, ...]:
    """Sort key of an arm: fewest assistants, then the strategy, then names and point."""
    rank = STRATEGY_ORDER.index(strategy) if strategy in STRATEGY_ORDER else len(STRATEGY_ORDER)
    return (len(assistants), rank, strategy, tuple(assistants), point)


@dataclass(frozen=True)
class Winner:
    """The arm with the best students on `choose`, and its best student there, which is the one that ships."""

    strategy: str
    assistants: tuple[str, ...]
    point: str
    replicate: int
    seed: int
    student_key: str
    weights: tuple[float, ...] | None
    """Of the student that ships, aligned with `assistants`; None without distillation."""
    mean_choose_accuracy: float
    """Of the arm, over its seeds."""
    choose_accuracy: float
    """Of the student that ships."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return asdict(self) | {"assistants": list(self.assistants), "weights": self.weights and list(self.weights)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Winner:
        """The inverse of `to_dict`."""
        known = {field.name: values[field.name] for field in fields(cls)}
        weights = None if known["weights"] is None else tuple(known["weights"])
        return cls(**known | {"assistants": tuple(known["assistants"]), "weights": weights})


def finished(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials whose students were trained to the end: neither failed nor stopped early."""
    failed = trials["error"].notna() & (trials["error"] != "")
    done = ~failed & trials["stopped_at_epoch"].isna() & trials["student_choose_accuracy"].notna()
    return trials[done]


def choose_winner(trials: pd.DataFrame) -> Winner | None:
    """The arm with the best mean `student_choose_accuracy`; None where no student was finished.

    Reads no test column. Only arms with as many finished students as any arm has can win: a recipe that failed at two
    seeds must not win by its third. Ties go to the arm that comes first by `arm_order`.
    """
    arms: dict[tuple[str, tuple[str, ...], str], list[Mapping[Any, Any]]] = {}
    for row in finished(trials).to_dict("records"):
        arms.setdefault((row["strategy"], tuple(row["assistants"]), row["point"]), []).append(row)
    if not arms:
        return None
    most = max(len(rows) for rows in arms.values())
    means = {arm: _rounded_mean(rows) for arm, rows in arms.items() if len(rows) == most}
    best = min(means, key=lambda arm: (-means[arm], arm_order(*arm)))
    shipped = min(arms[best], key=lambda row: (-row["student_choose_accuracy"], row["replicate"], row["seed"]))
    return Winner(
        *best,
        replicate=int(shipped["replicate"]),
        seed=int(shipped["seed"]),
        student_key=shipped["student_key"],
        weights=None if np.ndim(shipped["weights"]) == 0 else tuple(float(weight) for weight in shipped["weights"]),
        mean_choose_accuracy=means[best],
        choose_accuracy=float(shipped["student_choose_accuracy"]),
    )


def _rounded_mean(rows: Sequence[Mapping[Any, Any]]) -> float:
    # Arms with as many correct answers must tie, however their seeds share them out.
    return round(_mean([row["student_choose_accuracy"] for row in rows]), 12)
