"""All weight on one network: what a single teaching assistant (TAKD) would give."""

from typing import TYPE_CHECKING

import numpy as np

from wetakd.weights.strategy import Found, Options, Strategy, best_of

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem


class BestSingle(Strategy):
    """The network with the best objective, the first on a tie."""

    name = "best_single"

    def find(self, problem: "Problem", options: Options) -> Found:
        """See `Strategy.find`."""
        return best_of(problem, np.eye(problem.num_networks), options)
