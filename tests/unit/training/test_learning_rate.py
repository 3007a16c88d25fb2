import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wetakd.config import RecipeConfig
from wetakd.training.learning_rate import learning_rate


def rates(num_steps, **fields):
    recipe = RecipeConfig(**{"lr": 0.8, "epochs": 8, **fields})
    return [learning_rate(recipe, step, num_steps) for step in range(num_steps)]


def test_cosine_falls_from_the_peak_towards_zero():
    assert rates(4) == pytest.approx([0.8, 0.4 * (1 + math.sqrt(0.5)), 0.4, 0.4 * (1 - math.sqrt(0.5))])


def test_step_falls_at_each_milestone():
    expected = [0.8] * 4 + [0.08] * 2 + [0.008] * 2
    assert rates(8, schedule="step", milestones=(0.5, 0.75), gamma=0.1) == pytest.approx(expected)


def test_constant_stays():
    assert rates(5, schedule="constant") == [0.8] * 5


def test_warm_up_rises_evenly_and_ends_on_the_peak():
    # 2 of 8 epochs of 2 steps are warm-up: 4 steps.
    assert rates(16, schedule="constant", warmup_epochs=2) == pytest.approx([0.2, 0.4, 0.6] + [0.8] * 13)
    assert rates(16, warmup_epochs=2)[3:6] == pytest.approx([0.8, 0.8, 0.4 * (1 + math.cos(math.pi / 12))])


@settings(deadline=None)
@given(
    schedule=st.sampled_from(["cosine", "step", "constant"]),
    warmup=st.floats(0, 7.9),
    num_steps=st.integers(8, 300),
)
def test_every_phase_is_reached_and_the_rate_is_never_zero(schedule, warmup, num_steps):
    found = rates(num_steps, schedule=schedule, warmup_epochs=warmup, milestones=(0.995,))
    assert 0 < min(found) <= max(found) <= 0.8
    assert max(found) == pytest.approx(0.8) or round(warmup / 8 * num_steps) == num_steps
    peak = found.index(max(found))
    assert found[:peak] == sorted(found[:peak])
    assert found[peak:] == sorted(found[peak:], reverse=True)
