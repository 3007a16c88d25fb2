"""How many seeds resolve the smallest interesting difference, and the limit that the test images set."""

from __future__ import annotations

from dataclasses import dataclass

from wetakd.results.crossed_intervals import Covers, CrossedInterval, combined_half_width
from wetakd.results.statistics import MOST_SEEDS


@dataclass(frozen=True)
class RequiredSeeds:
    """Seeds for an interval whose half-width is below the smallest interesting difference."""

    num_seeds: int | None
    """None where no number up to 10,000 is enough, and where the interval covers images only."""
    image_floor: float | None
    """Smallest half-width with any number of seeds on these test images, in shares of 1; None for images only."""


def required_seeds(interval: CrossedInterval, smallest: float) -> RequiredSeeds:
    """Seeds with which the half-width of a paired difference falls below `smallest`.

    All variances are taken from `interval`; from few seeds they are rough, and so is the number. The observed
    difference plays no role: planning with it is circular.

    Args:
        interval: Interval of the paired difference (`difference_interval`), over at least two seeds.
        smallest: The smallest interesting difference, in shares of 1; greater than 0.

    Raises:
        ValueError: if `smallest` is not greater than 0.
    """
    if not smallest > 0:
        raise ValueError(f"smallest: must be greater than 0, got {smallest}")
    if interval.covers is Covers.IMAGES_ONLY:
        return RequiredSeeds(None, None)
    floor = half_width_with(interval, None)
    low, high = 2, MOST_SEEDS
    if half_width_with(interval, high) >= smallest:
        return RequiredSeeds(None, floor)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if half_width_with(interval, middle) < smallest else (middle + 1, high)
    return RequiredSeeds(low, floor)


def half_width_with(interval: CrossedInterval, num_seeds: int | None) -> float:
    """Expected half-width with `num_seeds` >= 2 seeds on the same images, in shares of 1; None: without limit.

    Raises:
        ValueError: if `interval` covers images only.
    """
    if interval.seed_error is None or interval.residual_error is None:
        raise ValueError("an interval over images only does not say how students vary")
    seed, image, residual = interval.seed_error**2, interval.image_error**2, interval.residual_error**2
    if num_seeds is None:
        return combined_half_width((0.0, image, 0.0), 1, interval.num_groups, interval.level)
    share = interval.num_seeds / num_seeds
    parts = max(seed, residual) * share, image, residual * share
    return combined_half_width(parts, num_seeds, interval.num_groups, interval.level)
