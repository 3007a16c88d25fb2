"""Weights for an ensemble of networks: exact search on plain numpy arrays (numpy and scipy only)."""

from wetakd.weights.contributions import Contributions, contributions
from wetakd.weights.problem import Problem
from wetakd.weights.result import SearchResult
from wetakd.weights.run_search import search, search_problem
from wetakd.weights.strategies import STRATEGIES, place_of, strategy_named
from wetakd.weights.strategy_interface import Found, Options, Strategy

__all__ = [
    "STRATEGIES",
    "Contributions",
    "Found",
    "Options",
    "Problem",
    "SearchResult",
    "Strategy",
    "contributions",
    "place_of",
    "search",
    "search_problem",
    "strategy_named",
]
