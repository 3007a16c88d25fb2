"""The search for the weights of one ensemble: its networks' logits on a split, and what a strategy finds. No Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wetakd.common.errors import UserError, first_line
from wetakd.config import WeightsConfig
from wetakd.data.splits import SplitLabels
from wetakd.logits.logit_cache import Logits
from wetakd.plan.trials import Search
from wetakd.training.failures import may_pass
from wetakd.weights import STRATEGIES, Problem, SearchResult, solve_problem
from wetakd.weights.strategies import strategy_named


@dataclass(frozen=True)
class SearchFailure:
    """Why a strategy of another package found no weights."""

    reason: str
    is_recorded: bool
    """Whether another try would end the same way."""


def ensemble_problem(logits: Sequence[Logits], labels: SplitLabels, config: WeightsConfig, split: str) -> Problem:
    """The networks' logits on one split, ready to be searched or evaluated."""
    scores_KNC = np.stack([getattr(network, f"{split}_NC") for network in logits])
    return Problem(
        scores_KNC, labels.of(split), scores_are="logits", temperature=config.temperature, mixture=config.mixture
    )


def run_search(problem: Problem, search: Search, config: WeightsConfig) -> SearchResult | SearchFailure:
    """What a strategy finds; why it failed, where it is another package's: that costs its rows, not the study."""
    is_there = False
    try:
        strategy_named(search.strategy)
        is_there = True
        return solve_problem(
            problem,
            strategy=search.strategy,
            seed=search.seed,
            objective=config.objective,
            engine=config.engine,
            max_evaluations=config.max_evaluations,
        )
    except Exception as error:
        if search.strategy in STRATEGIES:
            raise  # ours, with its traceback
        reason = first_line(f"strategy {search.strategy} failed: {type(error).__name__}: {error}")
        # Weights that are not on the simplex are a UserError, and they are the strategy's own.
        return SearchFailure(reason, is_there and (isinstance(error, UserError) or not may_pass(error)))
