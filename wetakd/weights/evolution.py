"""Differential evolution, the lean loop: best1bin with dither, a whole generation at a time (Storn & Price 1997)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from wetakd.weights.scores import Floats, Integers
from wetakd.weights.strategy import Found, Options

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem

POPULATION_PER_NETWORK = 15
MAX_GENERATIONS = 1000
TOLERANCE = 1e-7
CROSSOVER = 0.7
DITHER = (0.5, 1.0)
GENERATIONS_DRAWN_AT_ONCE = 16


def evolve(problem: "Problem", options: Options) -> Found:
    """Minimise the objective over the box [0, 1]^K.

    As scipy's `differential_evolution` with the tutorial's settings and deferred updates: the same Latin hypercube, one
    dither a generation, binomial crossover with one forced gene, genes outside the box drawn anew, a trial replaces its
    parent when it is no worse, the end when the losses' deviation is 1e-7 of their mean. Only the random stream
    differs. Of the members that end with the best loss, the one with the lowest log-loss is taken where that is
    cheap (averaged probabilities): it costs no accuracy and generalises a little better.
    """
    generator = np.random.default_rng(options.seed)
    losses = problem.focused_losses(options.objective)
    num_members = POPULATION_PER_NETWORK * problem.num_networks
    budget = num_members * (MAX_GENERATIONS + 1) if options.max_evaluations is None else options.max_evaluations
    population_PK = latin_hypercube(generator, num_members, problem.num_networks)[:budget]
    loss_P = losses(population_PK)
    evaluations = len(population_PK)
    for chance in _chances(generator, num_members, problem.num_networks):
        if evaluations >= budget or _converged(loss_P):
            break
        trial_PK = _trials(population_PK, int(loss_P.argmin()), chance)[: budget - evaluations]
        trial_loss_P = losses(trial_PK)
        evaluations += len(trial_PK)
        accepted = np.flatnonzero(trial_loss_P <= loss_P[: len(trial_PK)])
        population_PK[accepted] = trial_PK[accepted]
        loss_P[accepted] = trial_loss_P[accepted]
    return Found(problem.likeliest(population_PK[loss_P == loss_P.min()]), evaluations)


def latin_hypercube(generator: Generator, num_members: int, num_networks: int) -> Floats:
    """One member in each of P equal slices of every axis; the same numbers as scipy's from the same generator."""
    samples_PK = generator.uniform(size=(num_members, num_networks)) * (1.0 / num_members)
    samples_PK += np.linspace(0.0, 1.0, num_members, endpoint=False)[:, None]
    orders_KP = [generator.permutation(range(num_members)) for _ in range(num_networks)]
    return np.stack([samples_PK[order_P, k] for k, order_P in enumerate(orders_KP)], axis=1)


class Chance(NamedTuple):
    """The random numbers of one generation."""

    scale: float
    first_P: Integers
    second_P: Integers
    crossed_PK: NDArray[np.bool_]
    fresh_PK: Floats


def _chances(generator: Generator, num_members: int, num_networks: int) -> Iterator[Chance]:
    """Drawn for several generations at once, as most of a small generation's time would be the calls."""
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
        yield from map(Chance, scale_G.tolist(), first_GP, second_GP, crossed_GPK, fresh_GPK)


def _trials(population_PK: Floats, best: int, chance: Chance) -> Floats:
    mutant_PK = population_PK[chance.first_P]
    mutant_PK -= population_PK[chance.second_P]
    mutant_PK *= chance.scale
    mutant_PK += population_PK[best]
    trial_PK = np.where(chance.crossed_PK, mutant_PK, population_PK)
    return np.where((trial_PK < 0) | (trial_PK > 1), chance.fresh_PK, trial_PK)


def _converged(loss_P: Floats) -> bool:
    mean = loss_P.sum() / len(loss_P)
    deviation_P = loss_P - mean
    return bool(deviation_P @ deviation_P <= len(loss_P) * (TOLERANCE * abs(mean)) ** 2)
