"""One ensemble: the logits of its networks on a split, and the weights that a search finds for them. Knows no Ray."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wetakd.bank import Logits
from wetakd.config import WeightsConfig
from wetakd.data.dataset import Dataset
from wetakd.plan import Search
from wetakd.weights import STRATEGIES, Problem, SearchResult


def ensemble_problem(logits: Sequence[Logits], dataset: Dataset, config: WeightsConfig, split: str) -> Problem:
    """The networks' logits on one split, ready to be searched or judged."""
    scores_KNC = np.stack([getattr(network, f"{split}_NC") for network in logits])
    labels_N = dataset.labels_N[getattr(dataset.splits, split)]
    return Problem(scores_KNC, labels_N, scores_are="logits", temperature=config.temperature, mixture=config.mixture)


def searched(problem: Problem, search: Search, config: WeightsConfig) -> SearchResult | str:
    """What a strategy finds; why it failed, where it is another package's: that costs its rows, not the study."""
    try:
        return problem.search(
            strategy=search.strategy,
            seed=search.seed,
            objective=config.objective,
            engine=config.engine,
            max_evaluations=config.max_evaluations,
        )
    except Exception as error:
        if search.strategy in STRATEGIES:
            raise  # ours, with its traceback
        return f"strategy {search.strategy} failed: {type(error).__name__}: {error}".strip().splitlines()[0]
