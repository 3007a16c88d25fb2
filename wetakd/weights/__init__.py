"""Weights for an ensemble of networks: exact search on plain numpy arrays (numpy and scipy only)."""

from wetakd.weights.contributions import Contributions, contributions
from wetakd.weights.ensemble_problem import Problem
from wetakd.weights.search_result import SearchResult
from wetakd.weights.strategies import STRATEGIES, entry_point_of, strategy_named
from wetakd.weights.strategy_interface import Found, Options, Strategy
from wetakd.weights.weight_search import search, solve_problem

__all__ = [
    "STRATEGIES",
    "Contributions",
    "Found",
    "Options",
    "Problem",
    "SearchResult",
    "Strategy",
    "contributions",
    "entry_point_of",
    "search",
    "solve_problem",
    "strategy_named",
]
