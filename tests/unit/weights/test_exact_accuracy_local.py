import numpy as np
import pytest

from tests.unit.weights.made_scores import make_probabilities, make_scores
from wetakd.weights import Problem
from wetakd.weights.exact_accuracy_local import LocalAccuracy


@pytest.mark.parametrize("num_networks", [1, 2, 5, 12])
def test_it_counts_exactly_wherever_it_is_focused(num_networks):
    rows = Problem(*make_probabilities(num_networks, 400, 10), scores_are="probabilities").accuracy_rows
    local, generator = LocalAccuracy(rows), np.random.default_rng(0)
    for spread in (1.0, 0.3, 0.1, 1e-2, 1e-4, 1e-9, 1e-15, 0.0, 0.5):
        weights_MK = 0.5 + spread * generator.uniform(-0.5, 0.5, size=(50, num_networks))
        weights_MK[::7] = generator.uniform(size=weights_MK[::7].shape)
        local._next_fit = local._calls + 1
        assert local(weights_MK).tolist() == rows.count_wrong(weights_MK).tolist()


def test_exact_ties_are_kept_inside_a_ball():
    generator = np.random.default_rng(3)
    votes_KNC = generator.integers(3, size=(4, 300, 5)).astype(float)
    problem = Problem(votes_KNC, generator.integers(5, size=300), scores_are="logits", mixture="logits")
    local = LocalAccuracy(problem.accuracy_rows)
    for _ in range(5):
        weights_MK = generator.integers(1, 4, size=(40, 4)) / 4
        local._next_fit = local._calls + 1
        assert local(weights_MK).tolist() == problem.accuracy_rows.count_wrong(weights_MK).tolist()


def test_rows_are_left_out():
    problem = Problem(*make_scores(5, 500, 10), scores_are="logits")
    local = LocalAccuracy(problem.accuracy_rows)
    local._next_fit = 1
    local(0.5 + np.random.default_rng(0).normal(scale=0.01, size=(60, 5)))
    assert len(local._balls[0].rows_RK) < 0.3 * len(local._balls[-1].rows_RK)
