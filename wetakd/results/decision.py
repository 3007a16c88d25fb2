"""What an interval of a paired difference says, in words: better, worse, equivalent, not inferior, or not decided.

All words follow from one interval [low, high] and two numbers that are declared before the study: the smallest
interesting difference d and, where "not inferior" is asked, the margin m.

| word | rule |
|---|---|
| better | low > 0 |
| worse | high < 0 |
| equivalent within d | -d < low and high < d |
| not inferior by more than m | low > -m |
| not decided | none of these |
"""

from __future__ import annotations

import math
from enum import Flag

_MOST_DECIMALS = 8


class Decision(Flag):
    """The words that hold; several may hold at once, such as better and equivalent within d."""

    NOT_DECIDED = 0
    BETTER = 1
    WORSE = 2
    EQUIVALENT = 4
    NOT_INFERIOR = 8


def decide(low: float, high: float, *, smallest: float, margin: float | None = None) -> Decision:
    """Every word that holds for the interval [low, high] of a paired difference.

    At most one of better and worse holds. The rules for equivalence and non-inferiority are those of the two
    one-sided tests, each at half of 1 minus the interval's level, so they are conservative.

    Args:
        low: Lower end of the interval, in shares of 1.
        high: Upper end.
        smallest: The smallest interesting difference d, greater than 0, in shares of 1.
        margin: The largest acceptable loss m, greater than 0, in shares of 1; None where it is not asked.

    Raises:
        ValueError: if the interval is reversed or not finite, or `smallest` or `margin` is not greater than 0.

    References:
        Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15:657 (two one-sided tests).
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"low must be a number not above high, got {low} and {high}")
    if not smallest > 0:
        raise ValueError(f"smallest: must be greater than 0, got {smallest}")
    if margin is not None and not margin > 0:
        raise ValueError(f"margin: must be greater than 0, got {margin}")
    decision = Decision.NOT_DECIDED
    if low > 0:
        decision |= Decision.BETTER
    if high < 0:
        decision |= Decision.WORSE
    if -smallest < low and high < smallest:
        decision |= Decision.EQUIVALENT
    if margin is not None and low > -margin:
        decision |= Decision.NOT_INFERIOR
    return decision


def decision_words(low: float, high: float, *, smallest: float, margin: float | None = None) -> str:
    """The decision as a phrase, such as `better (+0.21 to +0.60 points), equivalent within 1 point`.

    A point is a percentage point. The ends of the interval get two decimals, or more where two would contradict the
    words, such as `better` beside +0.00. "Not inferior" is left out beside "better", which implies it.

    Args and Raises: as for `decide`.
    """
    decision = decide(low, high, smallest=smallest, margin=margin)
    direction = "better" if Decision.BETTER in decision else "worse" if Decision.WORSE in decision else None
    further = []
    if Decision.EQUIVALENT in decision:
        further.append(f"equivalent within {_points(smallest)}")
    if Decision.NOT_INFERIOR in decision and Decision.BETTER not in decision and margin is not None:
        further.append(f"not inferior by more than {_points(margin)}")
    first = direction or (further.pop(0) if further else "not decided")
    return ", ".join([f"{first} ({_shown_interval(low, high, smallest, margin)})", *further])


def _shown_interval(low: float, high: float, smallest: float, margin: float | None) -> str:
    decision = decide(low, high, smallest=smallest, margin=margin)
    for decimals in range(2, _MOST_DECIMALS):
        shown = [round(100 * end, decimals) for end in (low, high)]
        if decide(shown[0] / 100, shown[1] / 100, smallest=smallest, margin=margin) is decision:
            break
    return " to ".join(f"{100 * end:+.{decimals}f}" for end in (low, high)) + " points"


def _points(share: float) -> str:
    """A positive share in percentage points, without trailing zeros."""
    number = f"{100 * share:.6g}"
    return f"{number} {'point' if number == '1' else 'points'}"
