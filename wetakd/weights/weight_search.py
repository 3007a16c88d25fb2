"""A search from end to end: one strategy's weights, their certificates, and what they are worth on unseen samples."""

from time import perf_counter
from typing import Any

import numpy as np

from wetakd.common.strategy_names import DE
from wetakd.weights.blas_threads import one_blas_thread
from wetakd.weights.ensemble_problem import Problem
from wetakd.weights.network_scores import ScoreKind, checked_weights
from wetakd.weights.search_result import SearchResult
from wetakd.weights.strategies import strategy_named
from wetakd.weights.strategy_interface import Options, Strategy


def search(
    scores_KNC: Any,
    labels_N: Any,
    *,
    scores_are: ScoreKind,
    temperature: float = 1.0,
    mixture: ScoreKind = "probabilities",
    strategy: str = DE,
    crossfit: bool = True,
    **options: Any,
) -> SearchResult:
    """Choose ensemble weights for K networks by one strategy.

    Args:
        scores_KNC: probabilities or logits, as `scores_are` says; see `Problem`.
        labels_N: integers from 0 to C-1.
        scores_are: "probabilities" or "logits".
        temperature: logits are divided by it first.
        mixture: what is averaged, "probabilities" or "logits".
        strategy: a name of `STRATEGIES`, or of an installed entry point in the group `wetakd.strategies`.
        crossfit: whether to estimate the gain on unseen samples; costs two searches on halves.
        options: the fields of `Options`: seed, objective, engine, max_evaluations, random_draws.

    Raises:
        UserError: scores, labels or options that `Problem`, `strategy_named` or `Options` do not accept.
    """
    problem = Problem(scores_KNC, labels_N, scores_are=scores_are, temperature=temperature, mixture=mixture)
    return solve_problem(problem, strategy, crossfit=crossfit, **options)


def solve_problem(problem: Problem, strategy: str = DE, *, crossfit: bool = True, **options: Any) -> SearchResult:
    """As `search`, on a problem that is kept for several searches: its scores are compiled only once."""
    with one_blas_thread():
        return _solve(problem, strategy, Options(**options), crossfit)


def _solve(problem: Problem, name: str, options: Options, with_crossfit: bool) -> SearchResult:
    strategy = strategy_named(name)
    objective = strategy.objective or options.objective
    accuracy_cap = problem.accuracy_rows.accuracy_cap  # compiled here, so that the clock sees the search alone
    started = perf_counter()
    found = strategy.find(problem, options)
    seconds = perf_counter() - started
    weights_K = checked_weights(found.weights_K, problem.num_networks)
    accuracy, nll = problem.evaluate(weights_K)
    gain, error = crossfitted_gain(problem, strategy, options) if with_crossfit else (None, None)
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


def crossfitted_gain(problem: Problem, strategy: Strategy, options: Options) -> tuple[float, float] | tuple[None, None]:
    """Mean accuracy gained over uniform weights, and its standard error; None with fewer than 4 samples.

    The samples are split in two at random (by the seed); each half is judged with the weights found on the other. A
    sample gains +1, 0 or -1. The estimate is for weights found on half the data, so it is a little low.
    """
    if problem.num_samples < 4:
        return None, None
    order_N = np.random.default_rng([options.seed, problem.num_samples]).permutation(problem.num_samples)
    halves = [np.sort(half) for half in np.array_split(order_N, 2)]
    gain_N = np.zeros(problem.num_samples)
    uniform_N = problem.accuracy_rows.right(np.ones(problem.num_networks))
    for searched, judged in (halves, halves[::-1]):
        weights_K = strategy.find(problem.subset(searched), options).weights_K
        gain_N[judged] = problem.accuracy_rows.right(weights_K)[judged].astype(float) - uniform_N[judged]
    return float(gain_N.mean()), float(gain_N.std(ddof=1) / np.sqrt(len(gain_N)))


def _warnings(problem: Problem) -> list[str]:
    same = [f"networks {i} and {j} are identical" for i, j in problem.scores.identical_networks]
    if problem.num_networks > 1 and problem.accuracy_rows.num_disputed == 0:
        same.append("no sample's verdict depends on the weights: all weights are equally accurate")
    return same
