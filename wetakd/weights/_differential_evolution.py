"""Differential evolution on the objective, the paper's way to choose the weights (arXiv 2206.12005)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import OptimizeResult, differential_evolution

from wetakd.weights.evolution import evolve
from wetakd.weights.scores import Floats
from wetakd.weights.strategy import Found, Options, Strategy

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem


class DifferentialEvolution(Strategy):
    """best1bin in the box [0, 1]^K, at most 1000 generations of 15K candidates, until all are equally good.

    `engine="scipy"` makes the call of the widely copied tutorial; on the compiled rows its population, x and candidate
    count are bit-equal to those of the naive objective. `engine="fast"`, the default, is the same algorithm in our own
    loop. Both are the same across processes and BLAS threads; scipy's stream may change between scipy versions.
    """

    name = "de"

    def find(self, problem: "Problem", options: Options) -> Found:
        """See `Strategy.find`."""
        return _scipy(problem, options) if options.engine == "scipy" else evolve(problem, options)


class _OutOfBudgetError(Exception):
    pass


def _scipy(problem: "Problem", options: Options) -> Found:
    budget = np.inf if options.max_evaluations is None else options.max_evaluations
    scale = problem.num_samples if options.objective == "accuracy" else 1
    evaluations, best_loss, best_K = 0, np.inf, np.ones(problem.num_networks)

    def energy(weights_K: Floats) -> float:
        nonlocal evaluations, best_loss, best_K
        if evaluations >= budget:
            raise _OutOfBudgetError
        evaluations += 1
        loss = float(problem.losses(weights_K[None], options.objective)[0])
        if loss < best_loss:
            best_loss, best_K = loss, weights_K.copy()
        return 1.0 - (scale - loss) / scale if options.objective == "accuracy" else loss

    try:
        solution = paper_call(energy, problem.num_networks, options.seed)
    except _OutOfBudgetError:
        return Found(best_K, evaluations)
    return Found(solution.x, evaluations)


def paper_call(energy: Callable[[Floats], float], num_networks: int, seed: int) -> OptimizeResult:
    """The call that at least ten public repositories make; `polish` is off, as accuracy has no gradient."""
    return differential_evolution(
        energy,
        [(0.0, 1.0)] * num_networks,
        strategy="best1bin",
        maxiter=1000,
        tol=1e-7,
        popsize=15,
        mutation=(0.5, 1),
        recombination=0.7,
        init="latinhypercube",
        polish=False,
        rng=np.random.default_rng(seed),
    )
