"""Numbers in words."""

from __future__ import annotations

import pytest

from wetakd.common.number_format import (
    count_noun,
    format_bytes,
    format_magnitude,
    format_percent,
    format_points,
    format_seconds,
)
from wetakd.report.estimate_format import difference, mean_and_width
from wetakd.results.statistics import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [(13_082, "13.1 k"), (327_962, "328 k"), (2_931_460, "2.93 M"), (999_600, "1.00 M"), (42, "42"), (None, "–")],
)
def test_short(value: float | None, text: str) -> None:
    assert format_magnitude(value) == text


def test_sizes() -> None:
    assert format_bytes(512) == "512 B"
    assert format_bytes(52_328) == "52.3 kB"


def test_points_are_percentage_points_and_nothing_has_no_sign() -> None:
    assert format_points(0.0031) == "+0.31"
    assert format_points(-0.00001) == "0.00"
    assert format_percent(0.9124) == "91.24"
    assert format_percent(None) == "–"


def test_estimates() -> None:
    found = Estimate(0.9, 0.01, 4, "seed")
    assert mean_and_width(found) == "90.00 ±1.59"
    assert difference(Estimate(0.003, 0.01, 4, "seed"), 1) == "+0.3 [-1.3, +1.9]"
    assert difference(Estimate(0.003, None, 1, "seed")) == "+0.30"
    assert difference(None) == "–"


def test_counts_and_seconds() -> None:
    assert count_noun(1, "seed") == "1 seed"
    assert count_noun(1200, "seed") == "1,200 seeds"
    assert (format_seconds(0.123), format_seconds(123.4), format_seconds(None)) == ("0.12", "123", "–")
