"""Numbers as the report writes them. Accuracies and differences are shares of 1 inside, percentage points in words."""

from __future__ import annotations

import json

from wetakd.results.statistics import Estimate

NOTHING = "–"


def percent(share: float | None, digits: int = 2) -> str:
    """`0.9124` as `91.24`."""
    return NOTHING if share is None else f"{100 * share:.{digits}f}"


def points(share: float, digits: int = 2) -> str:
    """`0.003` as `+0.30`; what rounds to nothing has no sign."""
    text = f"{100 * share:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


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


def number(value: float | None, digits: int = 3) -> str:
    """A plain number with fixed digits."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def short(value: float | None) -> str:
    """`327962` as `328 k`, `2931460` as `2.93 M`: three digits and a thousand's letter."""
    if value is None:
        return NOTHING
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * factor:
            return f"{value / factor:#.3g}".rstrip(".") + letter
    return f"{value:.0f}"


def size(num_bytes: float) -> str:
    """Bytes as `53.1 kB`."""
    text = short(num_bytes)
    return text + ("B" if text[-1].isalpha() else " B")


def seconds(value: float | None) -> str:
    """Seconds with a digit that matters."""
    return NOTHING if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def many(num: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def describe_point(point: str) -> str:
    """A swept point as `temperature 4, alpha 0.9`."""
    fields = json.loads(point)
    return ", ".join(
        f"{path.rsplit('.', 1)[-1]} {value:.4g}" if isinstance(value, float) else f"{path.rsplit('.', 1)[-1]} {value}"
        for path, value in fields.items()
    )
