"""A search from end to end: one strategy's weights, their certificates, and what they are worth on unseen samples."""

from time import perf_counter
from typing import Any

import numpy as np

from wetakd.weights.problem import Problem
from wetakd.weights.result import SearchResult
from wetakd.weights.scores import Kind, checked_weights
from wetakd.weights.strategies import strategy_named
from wetakd.weights.strategy_interface import Options, Strategy


def search(
    scores_KNC: Any,
    labels_N: Any,
    *,
    scores_are: Kind,
    temperature: float = 1.0,
    mixture: Kind = "probabilities",
    **options: Any,
) -> SearchResult:
    """One search on one set of scores: `Problem(...).search(...)`, which take the arguments and explain them."""
    problem = Problem(scores_KNC, labels_N, scores_are=scores_are, temperature=temperature, mixture=mixture)
    return problem.search(**options)


def run(problem: Problem, name: str, options: Options, with_crossfit: bool) -> SearchResult:
    """See `Problem.search`."""
    strategy = strategy_named(name)
    objective = strategy.objective or options.objective
    accuracy_cap = problem.margins.accuracy_cap  # compiled here, so that the clock sees the search alone
    started = perf_counter()
    found = strategy.find(problem, options)
    seconds = perf_counter() - started
    weights_K = checked_weights(found.weights_K, problem.num_networks)
    accuracy, nll = problem.evaluate(weights_K)
    gain, error = crossfit(problem, strategy, options) if with_crossfit else (None, None)
    return SearchResult(
        weights=weights_K,
        strategy=name,
        seed=options.seed,
        objective=objective,
        evaluations=found.evaluations,
        seconds=seconds,
        accuracy=accuracy,
        nll=nll,
        accuracy_cap=accuracy_cap,
        gap=problem.log_loss.gap(weights_K) if objective == "log_loss" else None,
        crossfit_gain=gain,
        crossfit_error=error,
        warnings=(*_warnings(problem), *found.warnings),
    )


def crossfit(problem: Problem, strategy: Strategy, options: Options) -> tuple[float, float] | tuple[None, None]:
    """Mean accuracy gained over uniform weights, and its standard error; None with fewer than 4 samples.

    The samples are split in two at random (by the seed); each half is judged with the weights found on the other. A
    sample gains +1, 0 or -1. The estimate is for weights found on half the data, so it is a little low.
    """
    if problem.num_samples < 4:
        return None, None
    order_N = np.random.default_rng([options.seed, problem.num_samples]).permutation(problem.num_samples)
    halves = [np.sort(half) for half in np.array_split(order_N, 2)]
    gain_N = np.zeros(problem.num_samples)
    uniform_N = problem.margins.right(np.ones(problem.num_networks))
    for searched, judged in (halves, halves[::-1]):
        weights_K = strategy.find(problem.subset(searched), options).weights_K
        gain_N[judged] = problem.margins.right(weights_K)[judged].astype(float) - uniform_N[judged]
    return float(gain_N.mean()), float(gain_N.std(ddof=1) / np.sqrt(len(gain_N)))


def _warnings(problem: Problem) -> list[str]:
    same = [f"networks {i} and {j} are identical" for i, j in problem.scores.identical_networks]
    if problem.num_networks > 1 and problem.margins.num_disputed == 0:
        same.append("no sample's verdict depends on the weights: all weights are equally accurate")
    return same
