"""The exact sign test against scipy's binomial test."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wetakd.results.sign_test import sign_test

NUMBERS = st.integers(0, 400)


@settings(deadline=None)
@given(NUMBERS, NUMBERS)
def test_agrees_with_the_binomial_test(num_won: int, num_lost: int) -> None:
    found = sign_test(num_won, num_lost)
    if found.num_disputed == 0:
        assert found.p_value == 1
        return
    expected = stats.binomtest(num_won, num_won + num_lost)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
    if found.num_disputed >= 25:
        ci = expected.proportion_ci(0.95, method="exact")
        assert (found.low, found.high) == pytest.approx((ci.low, ci.high), abs=1e-6)


@settings(deadline=None)
@given(NUMBERS, NUMBERS)
def test_exchanging_the_classifiers_mirrors_the_test(num_won: int, num_lost: int) -> None:
    found, mirrored = sign_test(num_won, num_lost), sign_test(num_lost, num_won)
    assert found.p_value == mirrored.p_value
    assert (found.low is None) == (found.high is None) == (mirrored.low is None)
    if found.low is not None and mirrored.high is not None:
        assert found.low == pytest.approx(1 - mirrored.high)


def test_no_interval_below_25_disputed_images() -> None:
    assert sign_test(24, 0).low is None
    assert sign_test(24, 0).high is None
    assert sign_test(25, 0).low == pytest.approx(0.025 ** (1 / 25))
    assert sign_test(25, 0).high == 1


@pytest.mark.parametrize(
    ("num_won", "num_lost", "words"),
    [
        (12, 3, "won 12, lost 3 of 15 disputed images (p = 0.035)"),
        (0, 0, "won 0, lost 0 of 0 disputed images (p = 1)"),
        (1, 0, "won 1, lost 0 of 1 disputed image (p = 1)"),
        (40, 2, "won 40, lost 2 of 42 disputed images (p < 0.001)"),
    ],
)
def test_words(num_won: int, num_lost: int, words: str) -> None:
    assert sign_test(num_won, num_lost).words == words


def test_invalid_input() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        sign_test(-1, 2)
    with pytest.raises(ValueError, match="level"):
        sign_test(1, 2, level=1.0)
