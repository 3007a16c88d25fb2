import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import wetakd.weights
from tests.unit.weights.made_scores import make_scores
from tests.unit.weights.strategy_contract import StrategyContract
from wetakd.common.errors import UserError
from wetakd.weights import STRATEGIES, Found, Problem, Strategy, solve_problem, strategy_named


class TestEveryStrategy(StrategyContract):
    @pytest.fixture(params=STRATEGIES)
    def strategy(self, request):
        return STRATEGIES[request.param]


def test_no_strategy_is_left_out():
    names = [module.name for module in pkgutil.iter_modules(wetakd.weights.__path__)]
    modules = [importlib.import_module(f"wetakd.weights.{name}") for name in names]
    kinds = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    concrete = {kind for kind in kinds if issubclass(kind, Strategy) and not inspect.isabstract(kind)}
    assert {type(strategy) for strategy in STRATEGIES.values()} == concrete
    assert all(name == strategy.name for name, strategy in STRATEGIES.items())


class OnlyTheFirst(Strategy):
    name = "only_the_first"

    def find(self, problem, options):
        return Found(np.eye(problem.num_networks)[0], 0, ("as asked",))


def test_another_packages_strategy_is_found_by_its_entry_point(tmp_path, monkeypatch):
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[wetakd.strategies]\nonly_the_first = {__name__}:OnlyTheFirst\n")
    monkeypatch.syspath_prepend(tmp_path)
    result = solve_problem(Problem(*make_scores(), scores_are="logits"), "only_the_first")
    assert result.weights.tolist() == [1.0, 0.0, 0.0]
    assert result.warnings == ("as asked",)


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(UserError, match="'oracle' is none of uniform, random, "):
        strategy_named("oracle")


def test_uniform_weighs_all_alike():
    result = solve_problem(Problem(*make_scores(4), scores_are="logits"), "uniform")
    assert result.weights.tolist() == [0.25] * 4
    assert (result.crossfit_gain, result.crossfit_error, result.evaluations) == (0.0, 0.0, 0)


def test_best_single_is_the_best_single():
    logits_KNC, labels_N = make_scores(4)
    right_K = (logits_KNC.argmax(axis=2) == labels_N).sum(axis=1)
    result = solve_problem(Problem(logits_KNC, labels_N, scores_are="logits"), "best_single")
    assert result.weights.tolist() == np.eye(4)[right_K.argmax()].tolist()


def test_random_draws_anew_with_each_seed():
    problem = Problem(*make_scores(), scores_are="logits")
    draws = {tuple(solve_problem(problem, "random", seed=seed, crossfit=False).weights) for seed in range(10)}
    assert len(draws) == 10


def test_random_search_draws_as_often_as_differential_evolution():
    problem = Problem(*make_scores(), scores_are="logits")
    evolved = solve_problem(problem, "de", seed=4, crossfit=False)
    searched = solve_problem(problem, "random_search", seed=4, crossfit=False)
    assert searched.evaluations == evolved.evaluations
    assert solve_problem(problem, "random_search", random_draws=17, crossfit=False).evaluations == 17


def test_greedy_keeps_its_best_prefix_and_beats_the_best_single():
    problem = Problem(*make_scores(6, 300), scores_are="logits")
    greedy, single = solve_problem(problem, "greedy"), solve_problem(problem, "best_single")
    assert greedy.accuracy >= single.accuracy
    assert greedy.evaluations == 300
    assert len(np.unique(greedy.weights)) <= 50
