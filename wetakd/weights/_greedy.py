"""Greedy ensemble selection with replacement (Caruana et al., ICML 2004)."""

from typing import TYPE_CHECKING

import numpy as np

from wetakd.weights.strategy import Found, Options, Strategy

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem

NUM_ROUNDS = 50


class Greedy(Strategy):
    """Add, 50 times, the network that helps the running sum most; keep the best prefix.

    A tie goes to a network already in the sum, then to the first: fewer networks serve as well. Among prefixes the
    shortest best one is kept. K candidates a round.
    """

    name = "greedy"

    def find(self, problem: "Problem", options: Options) -> Found:
        """See `Strategy.find`."""
        num_networks = problem.num_networks
        budget = NUM_ROUNDS * num_networks if options.max_evaluations is None else options.max_evaluations
        picks_K, best_K, best_loss, evaluations = np.zeros(num_networks), np.ones(num_networks), np.inf, 0
        for _ in range(NUM_ROUNDS):
            candidates_MK = (picks_K + np.eye(num_networks))[: budget - evaluations]
            if not len(candidates_MK):
                break
            losses_M = problem.losses(candidates_MK, options.objective)
            evaluations += len(candidates_MK)
            tied = np.flatnonzero(losses_M == losses_M.min())
            pick = int(tied[np.argmax(picks_K[tied] > 0)])
            picks_K = candidates_MK[pick]
            if losses_M[pick] < best_loss:
                best_loss, best_K = float(losses_M[pick]), picks_K
        return Found(best_K, evaluations)
