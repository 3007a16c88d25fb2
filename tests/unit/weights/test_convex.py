import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.weights.made_scores import make_scores
from wetakd.weights import Problem, solve_problem
from wetakd.weights.log_loss import LogitLogLoss, ProbabilityLogLoss

MIXTURES = pytest.mark.parametrize("mixture", ["probabilities", "logits"])


@MIXTURES
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), st.integers(2, 120), st.integers(2, 6), st.integers(0, 10**6), st.floats(-1, 6))
def test_the_gap_is_closed_and_certifies(mixture, num_networks, num_samples, num_classes, seed, skill):
    logits_KNC, labels_N = make_scores(num_networks, num_samples, num_classes, seed, skill)
    problem = Problem(logits_KNC, labels_N, scores_are="logits", mixture=mixture)
    result = solve_problem(problem, "convex", crossfit=False)
    assert 0 <= result.gap <= 1e-8
    others_MK = np.random.default_rng(seed).dirichlet(np.full(num_networks, 0.5), 50)
    losses_M = problem.losses(others_MK, "log_loss")
    assert losses_M.min() >= result.nll - result.gap - 1e-12
    for weights_K, loss in zip(others_MK[:5], losses_M, strict=False):
        assert loss - result.nll <= problem.log_loss.gap(weights_K) + 1e-9


@MIXTURES
def test_identical_and_hopeless_networks_do_not_stop_it(mixture):
    logits_KNC, labels_N = make_scores(3, 300)
    logits_KNC = np.concatenate([logits_KNC, logits_KNC[:1], 0 * logits_KNC[:1], 30 * logits_KNC[:1]])
    result = solve_problem(Problem(logits_KNC, labels_N, scores_are="logits", mixture=mixture), "convex")
    assert result.gap <= 1e-8


@pytest.mark.parametrize(("scale", "offset"), [(1, 1e4), (1000, 0)])
def test_large_logits_do_not_stop_it(scale, offset):
    logits_KNC, labels_N = make_scores(3, 200)
    near_KNC = logits_KNC[:1] + 1e-6 * np.random.default_rng(0).normal(size=logits_KNC[:1].shape)
    scores_KNC = scale * np.concatenate([logits_KNC, near_KNC]) + offset
    result = solve_problem(
        Problem(scores_KNC, labels_N, scores_are="logits", mixture="logits"), "convex", crossfit=False
    )
    assert result.gap <= 1e-8 * max(1, result.nll)


@MIXTURES
def test_float16_logits_close_the_gap_too(mixture):
    logits_KNC, labels_N = make_scores(16, 800, 10)
    problem = Problem((4 * logits_KNC).astype(np.float16), labels_N, scores_are="logits", mixture=mixture)
    assert solve_problem(problem, "convex", crossfit=False).gap <= 1e-8


@MIXTURES
def test_derivatives_are_those_of_the_values(mixture):
    problem = Problem(*make_scores(4, 50), scores_are="logits", mixture=mixture)
    loss = problem.log_loss
    assert isinstance(loss, ProbabilityLogLoss if mixture == "probabilities" else LogitLogLoss)
    weights_K, step = np.array([0.1, 0.4, 0.3, 0.2]), 1e-5
    gradient_K, hessian_KK = loss.derivatives(weights_K)
    nudges_KK = step * np.eye(4)
    slopes_K = (loss.values(weights_K + nudges_KK) - loss.values(weights_K - nudges_KK)) / (2 * step)
    assert slopes_K == pytest.approx(gradient_K, abs=1e-8)
    bends_KK = [
        (loss.derivatives(weights_K + nudge)[0] - loss.derivatives(weights_K - nudge)[0]) / (2 * step)
        for nudge in nudges_KK
    ]
    assert np.array(bends_KK) == pytest.approx(hessian_KK, abs=1e-7)


@MIXTURES
@pytest.mark.parametrize("strategy", ["de", "random_search", "greedy", "best_single"])
def test_no_other_strategy_has_a_lower_log_loss(mixture, strategy):
    problem = Problem(*make_scores(4, 150), scores_are="logits", mixture=mixture)
    exact = solve_problem(problem, "convex", crossfit=False)
    other = solve_problem(problem, strategy, objective="log_loss", max_evaluations=2000, crossfit=False)
    assert other.objective == "log_loss"
    assert exact.nll <= other.nll + 1e-9
    assert other.nll - exact.nll <= other.gap + 1e-9


def test_evolution_comes_close_to_the_exact_minimum():
    problem = Problem(*make_scores(3, 200), scores_are="logits")
    assert solve_problem(problem, "de", objective="log_loss", crossfit=False).gap < 1e-3


def test_a_probability_of_zero_does_not_make_the_loss_infinite():
    scores_KNC = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.5, 0.5]]])
    result = solve_problem(Problem(scores_KNC, np.array([1, 1]), scores_are="probabilities"), "convex")
    assert np.isfinite(result.nll)
    assert result.gap <= 1e-8
