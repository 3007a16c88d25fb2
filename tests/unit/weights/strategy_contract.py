"""The contract that every strategy keeps: subclass `StrategyContract` with a `strategy` fixture."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from tests.unit.weights.made_scores import make_scores
from wetakd.weights import Options, Problem, solve_problem

FRESH_PROCESS = """
import importlib, sys
import numpy as np
from wetakd.weights import Options, Problem
from {worlds} import make_scores
strategy = getattr(importlib.import_module({module!r}), {name!r})()
for num_networks, mixture in ((3, "probabilities"), (8, "logits")):
    problem = Problem(*make_scores(num_networks, 400), scores_are="logits", mixture=mixture)
    print(strategy.find(problem, Options(seed=5, max_evaluations=500)).weights_K.tobytes().hex())
"""


class StrategyContract:
    """What holds for any strategy, ours or another package's."""

    @pytest.mark.parametrize("num_networks", [1, 2, 5])
    @pytest.mark.parametrize("objective", ["accuracy", "log_loss"])
    @pytest.mark.parametrize("mixture", ["probabilities", "logits"])
    def test_weights_are_a_mixture(self, strategy, num_networks, objective, mixture):
        problem = Problem(*make_scores(num_networks, 60), scores_are="logits", mixture=mixture)
        found = strategy.find(problem, Options(objective=objective, max_evaluations=200))
        assert found.weights_K.shape == (num_networks,)
        assert found.weights_K.dtype == np.float64
        assert np.isfinite(found.weights_K).all()
        assert found.weights_K.min() >= 0
        assert found.weights_K.sum() > 0

    def test_the_result_lies_on_the_simplex(self, strategy):
        problem = Problem(*make_scores(), scores_are="logits")
        result = solve_problem(problem, strategy.name, max_evaluations=300)
        assert result.weights.sum() == pytest.approx(1.0, abs=1e-15)
        assert result.accuracy <= result.accuracy_cap
        assert result.crossfit_error >= 0

    @pytest.mark.parametrize("engine", ["fast", "scipy"])
    def test_the_same_seed_gives_the_same_answer(self, strategy, engine):
        problem = Problem(*make_scores(), scores_are="logits")
        options = Options(seed=3, engine=engine, max_evaluations=400)
        first, second = strategy.find(problem, options), strategy.find(problem, options)
        assert first.weights_K.tobytes() == second.weights_K.tobytes()
        assert first.evaluations == second.evaluations

    def test_a_fresh_process_and_other_blas_threads_give_the_same_answer(self, strategy):
        code = FRESH_PROCESS.format(
            worlds=make_scores.__module__, module=type(strategy).__module__, name=type(strategy).__name__
        )
        answers = []
        for threads in ("1", "2"):
            environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            )
            answers.append(done.stdout)
        assert answers[0] == answers[1] != ""

    def test_it_pickles(self, strategy):
        problem = Problem(*make_scores(), scores_are="logits")
        twin = pickle.loads(pickle.dumps(strategy))
        options = Options(max_evaluations=200)
        assert np.array_equal(twin.find(problem, options).weights_K, strategy.find(problem, options).weights_K)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_it_never_writes_to_its_input(self, strategy, dtype):
        logits_KNC, labels_N = make_scores()
        logits_KNC = logits_KNC.astype(dtype)
        logits_KNC.flags.writeable = labels_N.flags.writeable = False
        before = logits_KNC.tobytes(), labels_N.tobytes()
        for mixture in ("probabilities", "logits"):
            solve_problem(
                Problem(logits_KNC, labels_N, scores_are="logits", mixture=mixture), strategy.name, max_evaluations=100
            )
        assert (logits_KNC.tobytes(), labels_N.tobytes()) == before

    @pytest.mark.parametrize("limit", [1, 2, 7, 46, 100])
    @pytest.mark.parametrize("engine", ["fast", "scipy"])
    @pytest.mark.parametrize("objective", ["accuracy", "log_loss"])
    def test_it_honours_the_limit_on_evaluations(self, strategy, limit, engine, objective):
        problem = Problem(*make_scores(), scores_are="logits")
        found = strategy.find(problem, Options(engine=engine, objective=objective, max_evaluations=limit))
        assert 0 <= found.evaluations <= limit

    @pytest.mark.parametrize("engine", ["fast", "scipy"])
    def test_it_counts_every_candidate(self, strategy, engine, monkeypatch):
        problem = Problem(*make_scores(), scores_are="logits")
        counted = []
        monkeypatch.setattr(problem, "losses", _counting(problem.losses, counted))
        monkeypatch.setattr(problem, "focused_losses", lambda objective: lambda w: problem.losses(w, objective))
        found = strategy.find(problem, Options(max_evaluations=150, engine=engine, random_draws=90))
        if strategy.objective is None:
            assert found.evaluations == sum(counted)


def _counting(losses, counted):
    def counting(weights_MK, objective):
        counted.append(len(weights_MK))
        return losses(weights_MK, objective)

    return counting
