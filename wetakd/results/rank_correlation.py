"""Spearman's rank correlation with a permutation p value and an interval."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from wetakd.results.statistics import CONFIDENCE, FloatArray

_NUM_PERMUTATIONS = 9_999


_MOST_ENUMERATED = 7


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


def _permuted(values: FloatArray) -> FloatArray:
    if len(values) <= _MOST_ENUMERATED:
        return np.array(list(itertools.permutations(values)))
    return np.random.default_rng(0).permuted(np.tile(values, (_NUM_PERMUTATIONS, 1)), axis=1)


def _fisher_interval(rho: float, num: int) -> tuple[float | None, float | None]:
    if num < 5 or abs(rho) >= 1 - 1e-9:
        return None, None
    half = float(special.ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt((1 + rho**2 / 2) / (num - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
