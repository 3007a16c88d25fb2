"""An estimate with its interval as text, in percentage points."""

from __future__ import annotations

from wetakd.common.number_format import NOTHING, percent, points
from wetakd.results.statistics import Estimate


def mean_and_width(estimate: Estimate | None, digits: int = 2) -> str:
    """`91.24 ±0.52`, without the second part where there is no interval."""
    if estimate is None:
        return NOTHING
    width = estimate.half_width
    return percent(estimate.mean, digits) + (f" ±{100 * width:.{digits}f}" if width is not None else "")


def difference(estimate: Estimate | None, digits: int = 2) -> str:
    """`+0.30 [-0.80, +1.40]`, without the brackets where there is no interval."""
    if estimate is None:
        return NOTHING
    if estimate.low is None or estimate.high is None:
        return points(estimate.mean, digits)
    return f"{points(estimate.mean, digits)} [{points(estimate.low, digits)}, {points(estimate.high, digits)}]"
