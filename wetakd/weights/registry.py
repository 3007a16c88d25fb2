"""The strategies by name, ours and those that other packages offer."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from wetakd.errors import UserError
from wetakd.weights._best_single import BestSingle
from wetakd.weights._convex import Convex
from wetakd.weights._differential_evolution import DifferentialEvolution
from wetakd.weights._greedy import Greedy
from wetakd.weights._random import Random, RandomSearch
from wetakd.weights._uniform import Uniform
from wetakd.weights.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {kind.name: kind() for kind in (Uniform, Random, RandomSearch, DifferentialEvolution, Greedy, Convex, BestSingle)}
)
"""Ours. Another package adds one by an entry point in the group `wetakd.strategies` that names a `Strategy` class."""


def strategy_named(name: str) -> Strategy:
    """The strategy of that name.

    Raises:
        UserError: neither ours nor any installed package's.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    for entry in entry_points(group="wetakd.strategies", name=name):
        strategy: Strategy = entry.load()()
        return strategy
    raise UserError(f"strategy: {name!r} is none of {', '.join(STRATEGIES)}")
