"""Random weights: one draw, or the best of as many draws as differential evolution would use."""

from typing import TYPE_CHECKING

import numpy as np

from wetakd.weights._differential_evolution import DifferentialEvolution
from wetakd.weights.strategy import Found, Options, Strategy

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem

DRAWS_AT_ONCE = 256


class Random(Strategy):
    """One draw from Dirichlet(1), uniform over the simplex. Nothing is evaluated."""

    name = "random"

    def find(self, problem: "Problem", options: Options) -> Found:
        """See `Strategy.find`."""
        return Found(np.random.default_rng(options.seed).dirichlet(np.ones(problem.num_networks)), 0)


class RandomSearch(Strategy):
    """The best of `random_draws` draws from Dirichlet(1), the first on a tie.

    Without `random_draws` it runs differential evolution under the same options to learn how many candidates that used,
    and draws as many: the fair control for what the evolution itself is worth.
    """

    name = "random_search"

    def find(self, problem: "Problem", options: Options) -> Found:
        """See `Strategy.find`."""
        num_draws = options.random_draws
        if num_draws is None:
            num_draws = DifferentialEvolution().find(problem, options).evaluations
        num_draws = min(num_draws, options.max_evaluations or num_draws)
        generator = np.random.default_rng(options.seed)
        best_loss, best_K = np.inf, np.ones(problem.num_networks)
        for first in range(0, num_draws, DRAWS_AT_ONCE):
            weights_MK = generator.dirichlet(np.ones(problem.num_networks), min(DRAWS_AT_ONCE, num_draws - first))
            losses_M = problem.losses(weights_MK, options.objective)
            best = int(np.argmin(losses_M))
            if losses_M[best] < best_loss:
                best_loss, best_K = losses_M[best], weights_MK[best]
        return Found(best_K, num_draws)
