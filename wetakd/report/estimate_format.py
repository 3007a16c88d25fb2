"""An estimate with its interval as text, in percentage points."""

from __future__ import annotations

from wetakd.common.number_format import NO_VALUE, format_percent, format_points
from wetakd.results.statistics import Estimate


def mean_and_width(estimate: Estimate | None, digits: int = 2) -> str:
    """`91.24 ±0.52`, without the second part where there is no interval."""
    if estimate is None:
        return NO_VALUE
    width = estimate.half_width
    return format_percent(estimate.mean, digits) + (f" ±{100 * width:.{digits}f}" if width is not None else "")


def difference(estimate: Estimate | None, digits: int = 2) -> str:
    """`+0.30 [-0.80, +1.40]`, without the brackets where there is no interval."""
    if estimate is None:
        return NO_VALUE
    if estimate.low is None or estimate.high is None:
        return format_points(estimate.mean, digits)
    mean, low, high = (format_points(value, digits) for value in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"
