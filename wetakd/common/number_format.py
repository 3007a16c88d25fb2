"""Numbers as the report writes them. Accuracies and differences are shares of 1 inside, percentage points in words."""

from __future__ import annotations

NO_VALUE = "–"


def format_percent(share: float | None, digits: int = 2) -> str:
    """`0.9124` as `91.24`."""
    return NO_VALUE if share is None else f"{100 * share:.{digits}f}"


def format_points(share: float, digits: int = 2) -> str:
    """`0.003` as `+0.30`; what rounds to nothing has no sign."""
    text = f"{100 * share:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def format_number(value: float | None, digits: int = 3) -> str:
    """A plain number with fixed digits."""
    return NO_VALUE if value is None else f"{value:.{digits}f}"


def format_magnitude(value: float | None) -> str:
    """`327962` as `328 k`, `2931460` as `2.93 M`: three digits and a thousand's letter."""
    if value is None:
        return NO_VALUE
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * factor:
            return f"{value / factor:#.3g}".rstrip(".") + letter
    return f"{value:.0f}"


def format_bytes(num_bytes: float) -> str:
    """Bytes as `53.1 kB`."""
    text = format_magnitude(num_bytes)
    return text + ("B" if text[-1].isalpha() else " B")


def format_seconds(value: float | None) -> str:
    """Seconds with a digit that matters."""
    return NO_VALUE if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def count_noun(num: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"
