import subprocess
import sys

import numpy as np
import pytest

from tests.unit.weights.made_scores import make_probabilities, make_scores, naive_count
from wetakd.common.errors import UserError
from wetakd.weights import Problem, search, solve_problem

LOGITS, LABELS = make_scores()
PROBABILITIES, _ = make_probabilities()


def test_importing_it_loads_neither_torch_nor_ray_nor_mlflow_nor_pandas():
    code = "import sys, wetakd.weights; print([m for m in ('torch', 'ray', 'mlflow', 'pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_evaluate_of_a_probability_mixture():
    weights_K = np.array([0.5, 0.2, 0.3])
    mixed_NC = np.tensordot(weights_K, PROBABILITIES, axes=1)
    accuracy, nll = Problem(LOGITS, LABELS, scores_are="logits").evaluate(weights_K)
    assert accuracy == naive_count(PROBABILITIES, LABELS, weights_K) / 200
    assert nll == pytest.approx(-np.log(mixed_NC[np.arange(200), LABELS]).mean(), rel=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_evaluate_of_a_logit_mixture(temperature):
    weights_K = np.array([0.5, 0.2, 0.3])
    mixed_NC = np.tensordot(weights_K, LOGITS / temperature, axes=1)
    log_share_NC = mixed_NC - np.log(np.exp(mixed_NC).sum(axis=1, keepdims=True))
    problem = Problem(LOGITS, LABELS, scores_are="logits", temperature=temperature, mixture="logits")
    accuracy, nll = problem.evaluate(weights_K)
    assert accuracy == naive_count(LOGITS, LABELS, weights_K) / 200
    assert nll == pytest.approx(-log_share_NC[np.arange(200), LABELS].mean(), rel=1e-12)


def test_evaluate_compiles_nothing():
    problem = Problem(LOGITS, LABELS, scores_are="logits")
    problem.evaluate([1, 1, 1])
    assert set(vars(problem)) == {"scores"}


@pytest.mark.parametrize("weights", [[1, 1], [1, -1, 1], [0, 0, 0], [1, np.nan, 1], [1, np.inf, 1], [[1, 1, 1]]])
def test_evaluate_refuses_what_is_no_weighting(weights):
    with pytest.raises(UserError, match="weights"):
        Problem(LOGITS, LABELS, scores_are="logits").evaluate(weights)


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "oracle"},
        {"objective": "auc"},
        {"engine": "warp"},
        {"seed": -1},
        {"seed": 1.5},
        {"max_evaluations": 0},
        {"random_draws": 0},
        {"max_evaluations": True},
    ],
)
def test_an_unknown_word_or_number_is_refused_by_name(options):
    with pytest.raises(UserError, match=next(iter(options))):
        search(LOGITS, LABELS, scores_are="logits", **options)


def test_search_is_the_problems_search():
    one = search(LOGITS, LABELS, scores_are="logits", strategy="greedy", mixture="logits", temperature=2.0)
    two = solve_problem(Problem(LOGITS, LABELS, scores_are="logits", mixture="logits", temperature=2.0), "greedy")
    assert one.to_dict() | {"seconds": 0} == two.to_dict() | {"seconds": 0}


def test_the_result_reports_what_evaluate_says():
    problem = Problem(LOGITS, LABELS, scores_are="logits")
    result = solve_problem(problem, "de")
    assert (result.accuracy, result.nll) == problem.evaluate(result.weights)
    assert result.accuracy <= result.accuracy_cap
    assert result.gap is None
    assert solve_problem(problem, "de", objective="log_loss", max_evaluations=60).gap >= 0


def test_networks_that_never_disagree_are_warned_of():
    scores_KNC = np.zeros((2, 4, 3))
    scores_KNC[:, :, 1] = [[2.0], [1.0]]
    result = search(scores_KNC, np.array([1, 1, 0, 1]), scores_are="logits")
    assert result.accuracy == result.accuracy_cap == 0.75
    assert "no sample's verdict depends on the weights" in result.warnings[0]
