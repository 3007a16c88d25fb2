"""The strategies by name: the simple ones, written here, the others, and those that other packages offer."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

import numpy as np

from wetakd.common.errors import UserError
from wetakd.common.strategy_names import BEST_SINGLE, GREEDY, RANDOM, RANDOM_SEARCH, UNIFORM
from wetakd.weights.convex import Convex
from wetakd.weights.differential_evolution import DifferentialEvolution
from wetakd.weights.ensemble_problem import Problem
from wetakd.weights.strategy_interface import Found, Options, Strategy

GREEDY_ROUNDS = 50
DRAWS_AT_ONCE = 256


class Uniform(Strategy):
    """1/K for every network: the baseline that a search has to beat."""

    name = UNIFORM

    def find(self, problem: Problem, options: Options) -> Found:
        """See `Strategy.find`."""
        return Found(np.ones(problem.num_networks), 0)


class BestSingle(Strategy):
    """All weight on the network with the best objective, the first on a tie: a single teaching assistant (TAKD)."""

    name = BEST_SINGLE
    in_every_study = False  # its students are those of the control `single`

    def find(self, problem: Problem, options: Options) -> Found:
        """See `Strategy.find`."""
        single_MK = np.eye(problem.num_networks)[: options.max_evaluations]
        return Found(single_MK[problem.losses(single_MK, options.objective).argmin()], len(single_MK))


class Random(Strategy):
    """One draw from Dirichlet(1), uniform over the simplex."""

    name = RANDOM

    def find(self, problem: Problem, options: Options) -> Found:
        """See `Strategy.find`."""
        return Found(np.random.default_rng(options.seed).dirichlet(np.ones(problem.num_networks)), 0)


class RandomSearch(Strategy):
    """The best of `random_draws` draws from Dirichlet(1), the first on a tie.

    Without `random_draws` it runs differential evolution under the same options to learn how many candidates that used,
    and draws as many: the fair control for what the evolution itself is worth.
    """

    name = RANDOM_SEARCH

    def find(self, problem: Problem, options: Options) -> Found:
        """See `Strategy.find`."""
        num_draws = options.random_draws or DifferentialEvolution().find(problem, options).evaluations
        num_draws = min(num_draws, options.max_evaluations or num_draws)
        weights_MK = np.random.default_rng(options.seed).dirichlet(np.ones(problem.num_networks), num_draws)
        blocks = np.array_split(weights_MK, range(DRAWS_AT_ONCE, num_draws, DRAWS_AT_ONCE))
        losses_M = np.concatenate([problem.losses(block_mK, options.objective) for block_mK in blocks])
        return Found(weights_MK[losses_M.argmin()], num_draws)


class Greedy(Strategy):
    """Ensemble selection with replacement (Caruana et al., ICML 2004): the best prefix of 50 rounds.

    Each round adds the network that helps the running sum most. A tie goes to a network already in the sum, then to the
    first: fewer networks serve as well. Among prefixes the shortest best one is kept. K candidates a round.
    """

    name = GREEDY

    def find(self, problem: Problem, options: Options) -> Found:
        """See `Strategy.find`."""
        num_networks = problem.num_networks
        budget = options.max_evaluations or GREEDY_ROUNDS * num_networks
        picks_K, best_K, best_loss, evaluations = np.zeros(num_networks), np.ones(num_networks), np.inf, 0
        while evaluations < min(budget, GREEDY_ROUNDS * num_networks):
            candidates_MK = (picks_K + np.eye(num_networks))[: budget - evaluations]
            losses_M = problem.losses(candidates_MK, options.objective)
            evaluations += len(candidates_MK)
            tied = np.flatnonzero(losses_M == losses_M.min())
            pick = tied[np.argmax(picks_K[tied] > 0)]
            picks_K = candidates_MK[pick]
            if losses_M[pick] < best_loss:
                best_loss, best_K = losses_M[pick], picks_K
        return Found(best_K, evaluations)


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {kind.name: kind() for kind in (Uniform, Random, RandomSearch, DifferentialEvolution, Greedy, Convex, BestSingle)}
)
"""The built-in ones, in the order of reports.

Another package adds one by an entry point in the group `wetakd.strategies` that names a `Strategy` class.
"""


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


def entry_point_of(name: str) -> str | None:
    """`package.module:Class` of an installed package's strategy; None of ours."""
    if name in STRATEGIES:
        return None
    return next((entry.value for entry in entry_points(group="wetakd.strategies", name=name)), None)
