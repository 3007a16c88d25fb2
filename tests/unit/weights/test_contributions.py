from itertools import permutations

import numpy as np
import pytest

from tests.unit.weights.made_scores import make_scores
from wetakd.weights import Problem, contributions


def test_shapley_equals_the_mean_over_all_orders():
    logits_KNC, labels_N = make_scores(4, 120)
    problem = Problem(logits_KNC, labels_N, scores_are="logits")

    def value(members):
        if not members:
            return np.bincount(labels_N).max() / 120
        return problem.evaluate(np.isin(np.arange(4), list(members)).astype(float))[0]

    orders = list(permutations(range(4)))
    expected_K = [np.mean([value(o[: o.index(k) + 1]) - value(o[: o.index(k)]) for o in orders]) for k in range(4)]
    assert contributions(problem).shapley_K == pytest.approx(expected_K, abs=1e-12)


@pytest.mark.parametrize("num_networks", [1, 2, 7, 10])
def test_shapley_values_share_out_the_whole_and_leave_one_out_is_the_difference(num_networks):
    logits_KNC, labels_N = make_scores(num_networks, 150)
    problem = Problem(logits_KNC, labels_N, scores_are="logits")
    together = contributions(problem)
    majority = np.bincount(labels_N).max() / 150
    assert together.shapley_K.sum() == pytest.approx(problem.evaluate(np.ones(num_networks))[0] - majority)
    if num_networks > 1:
        without = problem.evaluate(1.0 - np.eye(num_networks)[0])[0]
        assert together.leave_one_out_K[0] == pytest.approx(problem.evaluate(np.ones(num_networks))[0] - without)


def test_above_ten_networks_only_leave_one_out_is_left():
    together = contributions(Problem(*make_scores(11, 60), scores_are="logits"))
    assert together.shapley_K is None
    assert together.leave_one_out_K.shape == (11,)
