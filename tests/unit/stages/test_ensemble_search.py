"""The search of an ensemble: a strategy of another package that fails says so; a failure of ours is not hidden."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from tests.unit import tiny
from tests.unit.weights.made_scores import make_scores
from wetakd.config import WeightsConfig
from wetakd.logits.logit_cache import Logits
from wetakd.plan.trials import Search
from wetakd.stages.ensemble_search import SearchFailure, ensemble_problem, run_search
from wetakd.weights import Found, Problem, SearchResult, Strategy


class Careless(Strategy):
    name = "careless"

    def find(self, problem, options):
        if options.seed == 1:
            raise ValueError("no idea\nat all")
        if options.seed == 3:
            raise MemoryError
        return Found(np.full(problem.num_networks, np.nan), 0)


@pytest.fixture
def careless(tmp_path, monkeypatch):
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[wetakd.strategies]\ncareless = {__name__}:Careless\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def problem():
    return Problem(*make_scores(), scores_are="logits")


def search(strategy, seed=1):
    return Search(strategy, ("a", "b", "c"), 0, seed, "key", {})


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize(("seed", "said"), [(1, "ValueError: no idea"), (2, "UserError: ")])
def test_another_packages_strategy_that_fails_says_why_in_one_line(problem, seed, said):
    failure = run_search(problem, search("careless", seed), WeightsConfig())
    assert isinstance(failure, SearchFailure)
    assert failure.reason.startswith(f"strategy careless failed: {said}")
    assert "\n" not in failure.reason
    assert failure.is_recorded


@pytest.mark.usefixtures("careless")
def test_a_lack_of_memory_or_a_package_that_a_worker_lacks_is_not_recorded(problem):
    for name, seed in (("careless", 3), ("not_installed", 1)):
        failure = run_search(problem, search(name, seed), WeightsConfig())
        assert isinstance(failure, SearchFailure)
        assert not failure.is_recorded


def test_ours_find_weights_and_hide_no_failure(problem, monkeypatch):
    assert isinstance(run_search(problem, search("greedy"), WeightsConfig()), SearchResult)
    monkeypatch.setattr(Problem, "losses", None)
    with pytest.raises(TypeError):
        run_search(Problem(*make_scores(), scores_are="logits"), search("random_search"), WeightsConfig())


def test_an_ensemble_needs_labels_and_splits_whose_size_does_not_grow_with_the_images():
    small = tiny.dataset()
    large = replace(small, images_NCHW=np.zeros((len(small.labels_N), 3, 64, 64), np.uint8))
    assert len(pickle.dumps(large.split_labels)) == len(pickle.dumps(small.split_labels)) < small.images_NCHW.nbytes

    right_NC = np.eye(tiny.NUM_CLASSES, dtype=np.float16)[small.labels_N]
    logits = Logits(right_NC[None], *(right_NC[getattr(small.splits, split)] for split in ("weigh", "choose", "test")))
    for split in ("weigh", "choose", "test"):
        problem = ensemble_problem([logits, logits], large.split_labels, WeightsConfig(), split)
        assert problem.evaluate(np.array([0.5, 0.5]))[0] == 1.0
