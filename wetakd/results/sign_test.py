"""The exact sign test: does one classifier win more of the disputed images than the other?"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import special

from wetakd.results.statistics import CONFIDENCE

FEWEST_DISPUTED = 25
"""Fewer disputed images do not give an interval."""


@dataclass(frozen=True)
class SignTest:
    """Images that exactly one of two classifiers gets right."""

    num_won: int
    num_lost: int
    p_value: float
    """Two-sided p of equal chances (binomial with share 1/2); 1 for no disputed image."""
    low: float | None
    """Lower end of the exact interval for the share won among disputed images; None below 25 disputed images."""
    high: float | None

    @property
    def num_disputed(self) -> int:
        """Won and lost images together."""
        return self.num_won + self.num_lost

    @property
    def words(self) -> str:
        """Such as `won 12, lost 3 of 15 disputed images (p = 0.035)`."""
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.2g}"
        noun = "image" if self.num_disputed == 1 else "images"
        return f"won {self.num_won}, lost {self.num_lost} of {self.num_disputed} disputed {noun} ({p})"


def sign_test(num_won: int, num_lost: int, *, level: float = CONFIDENCE) -> SignTest:
    """Exact two-sided sign test (McNemar's test in its exact form), for one pair of classifiers.

    Args:
        num_won: Images that only the first classifier gets right.
        num_lost: Images that only the second one gets right.
        level: Confidence level of the interval.

    Raises:
        ValueError: if a number is negative, or the level is outside (0, 1).

    References:
        McNemar (1947), Psychometrika 12:153; the interval: Clopper & Pearson (1934), Biometrika 26:404.
    """
    if num_won < 0 or num_lost < 0:
        raise ValueError(f"the numbers of images must not be negative, got {num_won} and {num_lost}")
    if not 0 < level < 1:
        raise ValueError(f"level: must be between 0 and 1, got {level}")
    disputed, tail = num_won + num_lost, (1 - level) / 2
    p_value = min(1.0, 2 * float(special.bdtr(min(num_won, num_lost), disputed, 0.5)))
    if disputed < FEWEST_DISPUTED:
        return SignTest(num_won, num_lost, p_value, None, None)
    low = float(special.betaincinv(num_won, num_lost + 1, tail)) if num_won else 0.0
    high = float(special.betaincinv(num_won + 1, num_lost, 1 - tail)) if num_lost else 1.0
    return SignTest(num_won, num_lost, p_value, low, high)
