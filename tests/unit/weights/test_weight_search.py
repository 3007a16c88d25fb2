import numpy as np
import pytest

from tests.unit.weights.made_scores import make_scores
from wetakd.weights import Problem, solve_problem


def test_on_noise_the_mean_gain_is_about_zero_though_the_search_claims_one():
    gains, claims = [], []
    for seed in range(40):
        generator = np.random.default_rng(seed)
        problem = Problem(generator.normal(size=(5, 200, 4)), generator.integers(4, size=200), scores_are="logits")
        result = solve_problem(problem, "greedy", seed=seed)
        gains.append(result.crossfit_gain)
        claims.append(result.accuracy - problem.evaluate(np.ones(5))[0])
    assert abs(np.mean(gains)) <= 3 * np.std(gains) / np.sqrt(40)
    assert np.mean(claims) > 0.03


def test_a_bad_network_is_worth_leaving_out():
    logits_KNC, labels_N = make_scores(3, 1000, 5, skill=2.0)
    logits_KNC[0] = 10 * np.random.default_rng(1).normal(size=logits_KNC[0].shape)
    for strategy in ("de", "greedy", "convex", "best_single"):
        result = solve_problem(Problem(logits_KNC, labels_N, scores_are="logits"), strategy)
        assert result.crossfit_gain > 3 * result.crossfit_error
        assert result.verdict == "better than uniform"


@pytest.mark.parametrize("num_samples", [1, 2, 3])
def test_too_few_samples_are_not_cross_fitted(num_samples):
    result = solve_problem(Problem(*make_scores(2, num_samples), scores_are="logits"), "de")
    assert result.crossfit_gain is None
    assert result.crossfit_error is None
    assert result.verdict == "not cross-fitted"


def test_it_can_be_left_out():
    assert solve_problem(Problem(*make_scores(), scores_are="logits"), "greedy", crossfit=False).crossfit_gain is None
