import dataclasses
import json

import numpy as np
import pytest

from tests.unit.weights.made_scores import make_scores
from wetakd.weights import STRATEGIES, Problem, SearchResult, solve_problem


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_result_survives_json_to_the_last_bit(strategy):
    result = solve_problem(Problem(*make_scores(), scores_are="logits"), strategy, max_evaluations=100)
    twin = SearchResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert twin.weights.tobytes() == result.weights.tobytes()
    assert twin.weights.dtype == np.float64
    assert twin.to_dict() == result.to_dict()
    assert isinstance(twin.warnings, tuple)


def test_numbers_of_numpy_do_not_stop_json():
    options = {"seed": np.int64(3), "random_draws": np.int32(20), "max_evaluations": np.uint8(30)}
    result = solve_problem(Problem(*make_scores(), scores_are="logits"), "random_search", **options)
    assert json.loads(json.dumps(result.to_dict()))["seed"] == 3


def test_it_is_frozen():
    result = solve_problem(Problem(*make_scores(), scores_are="logits"), "uniform")
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.nll = 0.0


@pytest.mark.parametrize(
    ("gain", "error", "words"),
    [
        (0.03, 0.01, "better than uniform"),
        (-0.03, 0.01, "worse than uniform"),
        (0.02, 0.01, "within its error"),
        (0.0, 0.0, "the same as uniform"),
        (None, None, "not cross-fitted"),
    ],
)
def test_the_verdict_in_words(gain, error, words):
    result = solve_problem(Problem(*make_scores(), scores_are="logits"), "uniform")
    assert dataclasses.replace(result, crossfit_gain=gain, crossfit_error=error).verdict == words
