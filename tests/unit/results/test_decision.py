"""Decisions: every word follows its rule, words do not contradict each other, and numbers do not contradict words."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from wetakd.results.decision import Decision, decide, decision_words

ENDS = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted)
WIDTHS = st.floats(1e-4, 1)
MARGINS = st.none() | WIDTHS


@settings(deadline=None)
@given(ENDS, WIDTHS, MARGINS)
@example([0.0, 0.0], 0.01, 0.01)
@example([-0.01, 0.01], 0.01, 0.01)
@example([0.0, 0.02], 0.01, None)
def test_every_word_follows_its_rule(ends: list[float], smallest: float, margin: float | None) -> None:
    low, high = ends
    decision = decide(low, high, smallest=smallest, margin=margin)
    assert (Decision.BETTER in decision) == (low > 0)
    assert (Decision.WORSE in decision) == (high < 0)
    assert (Decision.EQUIVALENT in decision) == (-smallest < low and high < smallest)
    assert (Decision.NOT_INFERIOR in decision) == (margin is not None and low > -margin)
    undecided = low <= 0 <= high and max(-low, high) >= smallest and (margin is None or low <= -margin)
    assert (decision is Decision.NOT_DECIDED) == undecided


@settings(deadline=None)
@given(ENDS, WIDTHS, MARGINS)
def test_words_do_not_contradict_each_other(ends: list[float], smallest: float, margin: float | None) -> None:
    decision = decide(*ends, smallest=smallest, margin=margin)
    assert not {Decision.BETTER, Decision.WORSE} <= set(decision)
    if margin is not None and Decision.BETTER in decision:
        assert Decision.NOT_INFERIOR in decision
    if margin is not None and margin >= smallest and Decision.EQUIVALENT in decision:
        assert Decision.NOT_INFERIOR in decision


@settings(deadline=None)
@given(ENDS, WIDTHS)
def test_exchanging_the_recipes_exchanges_better_and_worse(ends: list[float], smallest: float) -> None:
    low, high = ends
    decision = decide(low, high, smallest=smallest)
    mirrored = decide(-high, -low, smallest=smallest)
    assert (Decision.BETTER in decision) == (Decision.WORSE in mirrored)
    assert (Decision.WORSE in decision) == (Decision.BETTER in mirrored)
    assert (Decision.EQUIVALENT in decision) == (Decision.EQUIVALENT in mirrored)
    assert (decision is Decision.NOT_DECIDED) == (mirrored is Decision.NOT_DECIDED)


@settings(deadline=None)
@given(ENDS, ENDS, WIDTHS, MARGINS)
def test_a_wider_interval_never_decides_more(
    ends: list[float], more: list[float], smallest: float, margin: float | None
) -> None:
    inner = decide(*ends, smallest=smallest, margin=margin)
    outer = decide(min(ends[0], more[0]), max(ends[1], more[1]), smallest=smallest, margin=margin)
    assert set(outer) <= set(inner)


@pytest.mark.parametrize(
    ("low", "high", "margin", "words"),
    [
        (0.002, 0.006, None, "better (+0.20 to +0.60 points), equivalent within 1 point"),
        (0.002, 0.016, 0.005, "better (+0.20 to +1.60 points)"),
        (-0.016, -0.002, None, "worse (-1.60 to -0.20 points)"),
        (-0.004, -0.002, 0.005, "worse (-0.40 to -0.20 points), equivalent within 1 point, "
         "not inferior by more than 0.5 points"),
        (-0.004, 0.003, None, "equivalent within 1 point (-0.40 to +0.30 points)"),
        (-0.004, 0.012, 0.005, "not inferior by more than 0.5 points (-0.40 to +1.20 points)"),
        (-0.004, 0.012, None, "not decided (-0.40 to +1.20 points)"),
        (0.00002, 0.012, None, "better (+0.002 to +1.200 points)"),
        (-0.0099999, 0.0, None, "equivalent within 1 point (-0.99999 to +0.00000 points)"),
    ],
)  # fmt: skip
def test_words(low: float, high: float, margin: float | None, words: str) -> None:
    assert decision_words(low, high, smallest=0.01, margin=margin) == words


@settings(deadline=None)
@given(ENDS, WIDTHS, MARGINS)
def test_the_numbers_shown_lead_to_the_same_decision(ends: list[float], smallest: float, margin: float | None) -> None:
    bounds = [0.0, smallest, -smallest] + ([] if margin is None else [-margin])
    assume(all(end == bound or abs(end - bound) > 1e-6 for end in ends for bound in bounds))
    assume(all(end != bound for end in ends for bound in bounds[1:]))  # printing 100 d and dividing rounds
    words = decision_words(*ends, smallest=smallest, margin=margin)
    match = re.search(r"\(([+-][\d.]+) to ([+-][\d.]+) points\)", words)
    assert match is not None
    low, high = (float(number) / 100 for number in match.groups())
    expected = decide(*ends, smallest=smallest, margin=margin)
    assert decide(low, high, smallest=smallest, margin=margin) is expected


@pytest.mark.parametrize(
    ("low", "high", "smallest", "margin", "field"),
    [
        (0.1, 0.0, 0.01, None, "low"),
        (math.nan, 0.0, 0.01, None, "low"),
        (0.0, math.inf, 0.01, None, "low"),
        (0.0, 0.1, 0.0, None, "smallest"),
        (0.0, 0.1, math.nan, None, "smallest"),
        (0.0, 0.1, 0.01, -0.1, "margin"),
    ],
)
def test_invalid_input(low: float, high: float, smallest: float, margin: float | None, field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        decide(low, high, smallest=smallest, margin=margin)
