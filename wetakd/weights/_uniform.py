"""Equal weights: the baseline that a search has to beat."""

from typing import TYPE_CHECKING

import numpy as np

from wetakd.weights.strategy import Found, Options, Strategy

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem


class Uniform(Strategy):
    """1/K for every network. Nothing is evaluated."""

    name = "uniform"

    def find(self, problem: "Problem", options: Options) -> Found:
        """See `Strategy.find`."""
        return Found(np.ones(problem.num_networks), 0)
