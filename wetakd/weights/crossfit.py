"""Cross-fitting: what a search is worth on samples that it did not see."""

from typing import TYPE_CHECKING

import numpy as np

from wetakd.weights.strategy import Options, Strategy

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem


def crossfit(problem: "Problem", strategy: Strategy, options: Options) -> tuple[float, float] | None:
    """Mean accuracy gained over uniform weights, and its standard error; None with fewer than 4 samples.

    The samples are split in two at random (by the seed); each half is judged with the weights found on the other. A
    sample gains +1, 0 or -1. The estimate is for weights found on half the data, so it is a little low.
    """
    if problem.num_samples < 4:
        return None
    order_N = np.random.default_rng([options.seed, problem.num_samples]).permutation(problem.num_samples)
    halves = [np.sort(half) for half in np.array_split(order_N, 2)]
    gain_N = np.zeros(problem.num_samples)
    uniform_N = problem.margins.right(np.ones(problem.num_networks))
    for searched, judged in (halves, halves[::-1]):
        weights_K = strategy.find(problem.subset(searched), options).weights_K
        gain_N[judged] = problem.margins.right(weights_K)[judged].astype(float) - uniform_N[judged]
    return float(gain_N.mean()), float(gain_N.std(ddof=1) / np.sqrt(len(gain_N)))
