"""Differential evolution on the objective, the paper's way to choose the weights (arXiv 2206.12005)."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, differential_evolution

from wetakd.common.strategy_names import DE
from wetakd.weights.ensemble_problem import Problem
from wetakd.weights.network_scores import Floats
from wetakd.weights.strategy_interface import Found, Options, Strategy

POPULATION_PER_NETWORK = 15
MAX_GENERATIONS = 1000
TOLERANCE = 1e-7
CROSSOVER = 0.7
DITHER = (0.5, 1.0)
GENERATIONS_DRAWN_AT_ONCE = 16


class DifferentialEvolution(Strategy):
    """best1bin in the box [0, 1]^K, at most 1000 generations of 15K candidates, until all are equally good.

    `engine="scipy"` makes the call of the widely copied tutorial; on the compiled rows its population, x and candidate
    count are bit-equal to those of the naive objective. `engine="fast"`, the default, is the same algorithm in our own
    loop. Both are the same across processes and BLAS threads; scipy's stream may change between scipy versions.
    """

    name = DE

    def find(self, problem: Problem, options: Options) -> Found:
        """See `Strategy.find`."""
        return _scipy(problem, options) if options.engine == "scipy" else _fast(problem, options)


def _fast(problem: Problem, options: Options) -> Found:
    """A whole generation at a time (Storn & Price 1997).

    As scipy's `differential_evolution` with deferred updates: the same Latin hypercube, one dither a generation,
    binomial crossover with one forced gene, genes outside the box drawn anew, a trial replaces its parent when it is no
    worse, the end when the losses' deviation is 1e-7 of their mean. Only the random stream differs.
    """
    generator = np.random.default_rng(options.seed)
    losses = problem.focused_losses(options.objective)
    num_members = POPULATION_PER_NETWORK * problem.num_networks
    budget = options.max_evaluations or num_members * (MAX_GENERATIONS + 1)
    population_PK = latin_hypercube(generator, num_members, problem.num_networks)[:budget]
    loss_P = losses(population_PK)
    evaluations = len(population_PK)
    for scale, first_P, second_P, crossed_PK, fresh_PK in _chances(generator, num_members, problem.num_networks):
        if evaluations >= budget or _converged(loss_P):
            break
        mutant_PK = population_PK[loss_P.argmin()] + scale * (population_PK[first_P] - population_PK[second_P])
        trial_PK = np.where(crossed_PK, mutant_PK, population_PK)
        trial_PK = np.where((trial_PK < 0) | (trial_PK > 1), fresh_PK, trial_PK)[: budget - evaluations]
        trial_loss_P = losses(trial_PK)
        evaluations += len(trial_PK)
        accepted = np.flatnonzero(trial_loss_P <= loss_P[: len(trial_PK)])
        population_PK[accepted] = trial_PK[accepted]
        loss_P[accepted] = trial_loss_P[accepted]
    return Found(_likeliest(problem, population_PK[loss_P == loss_P.min()]), evaluations)


def _converged(loss_P: Floats) -> bool:
    mean = loss_P.sum() / len(loss_P)
    deviation_P = loss_P - mean
    return bool(deviation_P @ deviation_P <= len(loss_P) * (TOLERANCE * mean) ** 2)


def latin_hypercube(generator: Generator, num_members: int, num_networks: int) -> Floats:
    """One member in each of P equal slices of every axis; the same numbers as scipy's from the same generator."""
    samples_PK = generator.uniform(size=(num_members, num_networks)) * (1.0 / num_members)
    samples_PK += np.linspace(0.0, 1.0, num_members, endpoint=False)[:, None]
    orders_KP = [generator.permutation(range(num_members)) for _ in range(num_networks)]
    return np.stack([samples_PK[order_P, k] for k, order_P in enumerate(orders_KP)], axis=1)


def _chances(generator: Generator, num_members: int, num_networks: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Of each generation: scale, first and second partner [P], genes crossed and genes to redraw from [P, K].

    Drawn for several generations at once, as most of a small generation's time would be the calls.
    """
    shape = (GENERATIONS_DRAWN_AT_ONCE, num_members)
    member_P = np.arange(num_members)
    while True:
        scale_G = generator.uniform(*DITHER, size=shape[0])
        first_GP = generator.integers(num_members - 1, size=shape)
        first_GP += first_GP >= member_P
        second_GP = generator.integers(num_members - 2, size=shape)
        second_GP += second_GP >= np.minimum(member_P, first_GP)
        second_GP += second_GP >= np.maximum(member_P, first_GP)
        crossed_GPK = generator.random((*shape, num_networks)) < CROSSOVER
        forced_GP = generator.integers(num_networks, size=shape)
        crossed_GPK |= forced_GP[..., None] == np.arange(num_networks)
        fresh_GPK = generator.random((*shape, num_networks))
        yield from zip(scale_G, first_GP, second_GP, crossed_GPK, fresh_GPK, strict=True)


def _likeliest(problem: Problem, best_MK: Floats) -> Floats:
    """Of equally accurate weightings the one with the lowest log-loss: that costs nothing and generalises better.

    The first where the log-loss is dear (logit mixtures).
    """
    if problem.scores.mixture == "logits":
        best_MK = best_MK[:1]
    likeliest_K: Floats = best_MK[problem.losses(best_MK, "log_loss").argmin()] if len(best_MK) > 1 else best_MK[0]
    return likeliest_K


class _OutOfBudgetError(Exception):
    pass


def _scipy(problem: Problem, options: Options) -> Found:
    evaluations, best_loss, best_K = 0, np.inf, np.ones(problem.num_networks)

    def energy(weights_K: Floats) -> float:
        nonlocal evaluations, best_loss, best_K
        if evaluations == options.max_evaluations:
            raise _OutOfBudgetError
        evaluations += 1
        loss = float(problem.losses(weights_K[None], options.objective)[0])
        if loss < best_loss:
            best_loss, best_K = loss, weights_K.copy()
        return loss

    with suppress(_OutOfBudgetError):
        best_K = tutorial_call(energy, problem.num_networks, options.seed).x
    return Found(best_K, evaluations)


def tutorial_call(energy: Callable[[Floats], float], num_networks: int, seed: int) -> OptimizeResult:
    """The call that at least ten public repositories make; `polish` is off, as accuracy has no gradient.

    The rest is scipy's own: best1bin, 15 members a network, dither from 0.5 to 1, crossover 0.7, a Latin hypercube.
    """
    bounds, generator = [(0.0, 1.0)] * num_networks, np.random.default_rng(seed)
    return differential_evolution(energy, bounds, maxiter=1000, tol=1e-7, polish=False, rng=generator)
