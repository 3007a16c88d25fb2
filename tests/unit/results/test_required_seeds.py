"""Seeds needed: enough and not more, bounded by the images, and blind to the observed difference."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wetakd.results.crossed_intervals import Covers, CrossedInterval, difference_interval
from wetakd.results.required_seeds import half_width_with, required_seeds

ERRORS = st.floats(1e-5, 0.05)
INTERVALS = st.builds(
    lambda seed, image, residual, num_seeds: CrossedInterval(
        0.01, 0.0, 0.02, 0.95, num_seeds, 1000, 1000, Covers.SEEDS_AND_IMAGES, seed, image, residual
    ),
    ERRORS,
    ERRORS,
    ERRORS,
    st.integers(2, 20),
)


@settings(deadline=None)
@given(INTERVALS, st.floats(1e-3, 0.2))
def test_the_number_is_enough_and_one_less_is_not(interval: CrossedInterval, smallest: float) -> None:
    found = required_seeds(interval, smallest)
    assert found.image_floor == half_width_with(interval, None)
    if found.num_seeds is None:
        assert half_width_with(interval, 10_000) >= smallest
        return
    assert found.image_floor is not None
    assert found.image_floor < smallest
    assert half_width_with(interval, found.num_seeds) < smallest
    assert found.num_seeds == 2 or half_width_with(interval, found.num_seeds - 1) >= smallest


@settings(deadline=None)
@given(INTERVALS, st.integers(2, 1000))
def test_more_seeds_narrow_the_interval_down_to_the_floor(interval: CrossedInterval, num_seeds: int) -> None:
    assert half_width_with(interval, num_seeds) > half_width_with(interval, num_seeds + 1)
    assert half_width_with(interval, num_seeds) > half_width_with(interval, None)


@settings(deadline=None)
@given(INTERVALS, st.floats(-1, 1), st.floats(1e-3, 0.2))
def test_the_observed_difference_plays_no_role(interval: CrossedInterval, estimate: float, smallest: float) -> None:
    assert required_seeds(replace(interval, estimate=estimate), smallest) == required_seeds(interval, smallest)


def test_the_half_width_is_that_of_the_interval_at_its_own_number_of_seeds() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        correct_SN = rng.random((4, 1000)) + rng.random(1000) + 0.2 * rng.random((4, 1)) > 1
        interval = difference_interval(correct_SN * 1.0 - (rng.random((4, 1000)) > 0.5))
        assert interval.seed_error is not None
        assert interval.residual_error is not None
        if interval.seed_error > interval.residual_error and interval.image_error > 0:
            assert half_width_with(interval, 4) == pytest.approx((interval.high - interval.low) / 2)


def test_the_images_bound_what_seeds_can_do() -> None:
    """Every student wins the same 10 and loses the same 5 of 200 images: other seeds do not help."""
    difference_SN = np.zeros((3, 200))
    difference_SN[:, :10], difference_SN[:, 10:15], difference_SN[0, 20] = 1, -1, 1
    interval = difference_interval(difference_SN)
    found = required_seeds(interval, 0.01)
    assert found.num_seeds is None
    assert found.image_floor == pytest.approx(1.97 * math.sqrt(15) / 200, rel=0.02)
    assert required_seeds(interval, 0.05).num_seeds == 2


@pytest.mark.parametrize("num_seeds", [1, 4])
def test_equal_students_say_nothing_about_others(num_seeds: int) -> None:
    interval = difference_interval(np.zeros((num_seeds, 200)))
    assert required_seeds(interval, 0.01).num_seeds is None
    assert required_seeds(interval, 0.01).image_floor is None
    with pytest.raises(ValueError, match="images only"):
        half_width_with(interval, 5)


def test_the_smallest_interesting_difference_must_be_positive() -> None:
    with pytest.raises(ValueError, match="smallest: must be greater than 0"):
        required_seeds(difference_interval(np.eye(3)), 0.0)
