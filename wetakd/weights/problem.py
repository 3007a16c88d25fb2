"""The problem: scores and labels, what a weighting is worth on them, and the searches for a good one."""

from collections.abc import Callable
from functools import cached_property
from time import perf_counter
from typing import Any, Self

import numpy as np

from wetakd.weights.blas import one_blas_thread
from wetakd.weights.crossfit import crossfit as cross_fit
from wetakd.weights.focus import Focus
from wetakd.weights.logloss import LogLoss, log_loss_of
from wetakd.weights.margins import Margins, compile_margins
from wetakd.weights.registry import strategy_named
from wetakd.weights.result import SearchResult
from wetakd.weights.scores import SMALLEST_PROBABILITY, Floats, Integers, Kind, Scores, checked_weights
from wetakd.weights.strategy import Engine, Objective, checked_options


class Problem:
    """Scores [K, N, C] of K networks, labels [N], and how the scores are mixed.

    Built once, it serves any number of searches: what they need is compiled on first use and kept. Scores may be any
    numbers, float16 and read-only memory maps included; they are never copied as a whole.

    Args:
        scores_KNC: probabilities or logits, as `scores_are` says.
        labels_N: integers from 0 to C-1.
        scores_are: "probabilities" or "logits".
        temperature: logits are divided by it first.
        mixture: what is averaged, "probabilities" or "logits".

    Raises:
        UserError: non-finite scores, labels out of range, shapes that don't fit, more than 64 networks, none at all.
    """

    def __init__(
        self,
        scores_KNC: Any,
        labels_N: Any,
        *,
        scores_are: Kind,
        temperature: float = 1.0,
        mixture: Kind = "probabilities",
    ):
        self.scores = Scores(scores_KNC, labels_N, scores_are=scores_are, temperature=temperature, mixture=mixture)

    @property
    def num_networks(self) -> int:
        """K."""
        return self.scores.num_networks

    @property
    def num_samples(self) -> int:
        """N."""
        return self.scores.num_samples

    @cached_property
    def margins(self) -> Margins:
        """The rows that decide the accuracy."""
        return compile_margins(self.scores)

    @cached_property
    def log_loss(self) -> LogLoss:
        """The mixture's log-loss, convex in the weights."""
        return log_loss_of(self.scores)

    def subset(self, index_n: Integers) -> Self:
        """The same networks on the samples `index_n`, sharing what is compiled already."""
        part = object.__new__(type(self))
        part.scores = self.scores.subset(index_n)
        part.margins = self.margins.subset(index_n)
        return part

    def losses(self, weights_MK: Floats, objective: Objective) -> Floats:
        """What a strategy minimises, for M non-negative weightings of any scale, [M]: samples wrong, or nats."""
        if objective == "accuracy":
            return self.margins.count_wrong(weights_MK).astype(np.float64)
        return self.log_loss.values(weights_MK / weights_MK.sum(axis=1, keepdims=True))

    def focused_losses(self, objective: Objective) -> Callable[[Floats], Floats]:
        """The same as `losses`, and faster for a search that closes in on a region."""
        if objective == "accuracy":
            return Focus(self.margins)
        return lambda weights_MK: self.losses(weights_MK, objective)

    def likeliest(self, weights_MK: Floats) -> Floats:
        """Of M weightings the one with the lowest log-loss; the first where that is dear to know (logit mixtures)."""
        if len(weights_MK) == 1 or self.scores.mixture == "logits":
            best = 0
        else:
            best = int(self.losses(weights_MK, "log_loss").argmin())
        best_K: Floats = weights_MK[best]
        return best_K

    def evaluate(self, weights_K: Any) -> tuple[float, float]:
        """Accuracy and log-loss (nats) of one weighting on this data, straight from the scores.

        The mixture is summed network by network in float64 and a tie goes to the lowest class. Nothing is compiled.

        Raises:
            UserError: weights that are not K finite non-negative numbers with a positive sum.
        """
        weights_K = checked_weights(weights_K, self.num_networks)
        num_right, total = 0, 0.0
        for samples, scores_KnC in self.scores:
            mixed_nC = np.zeros(scores_KnC.shape[1:])
            for weight, scores_nC in zip(weights_K.tolist(), scores_KnC, strict=True):
                mixed_nC += np.multiply(scores_nC, weight, dtype=np.float64)
            labels_n = self.scores.labels_N[samples]
            num_right += int((mixed_nC.argmax(axis=1) == labels_n).sum())
            true_n = mixed_nC[np.arange(len(labels_n)), labels_n]
            if self.scores.mixture == "probabilities":
                total -= float(np.log(np.maximum(true_n, SMALLEST_PROBABILITY)).sum())
            else:
                highest_n = mixed_nC.max(axis=1)
                partition_n = np.exp(mixed_nC - highest_n[:, None]).sum(axis=1)
                total += float((np.log(partition_n) + highest_n - true_n).sum())
        return num_right / self.num_samples, total / self.num_samples

    def search(
        self,
        strategy: str = "de",
        *,
        seed: int = 0,
        objective: Objective = "accuracy",
        engine: Engine = "fast",
        max_evaluations: int | None = None,
        random_draws: int | None = None,
        crossfit: bool = True,
    ) -> SearchResult:
        """Choose weights by one strategy.

        Args:
            strategy: a name of `STRATEGIES`, or of an installed entry point in the group `wetakd.strategies`.
            seed: of everything random.
            objective: "accuracy" (an exact count of samples) or "log_loss".
            engine: of `de`: "fast", or "scipy" for the bit-exact population of the tutorial's call.
            max_evaluations: hard limit on the candidates evaluated.
            random_draws: of `random_search`; None: as many as `de` uses with the same seed, which is run to learn it.
            crossfit: whether to estimate the gain on unseen samples; costs two searches on halves.

        Raises:
            UserError: an unknown strategy, objective or engine, a number out of range.
        """
        chosen = strategy_named(strategy)
        options = checked_options(
            seed=seed,
            objective=objective,
            engine=engine,
            max_evaluations=max_evaluations,
            random_draws=random_draws,
        )
        fitted = chosen.objective or objective
        accuracy_cap = self.margins.accuracy_cap  # compiled here, so that the clock sees the search alone
        with one_blas_thread():
            started = perf_counter()
            found = chosen.find(self, options)
            seconds = perf_counter() - started
            weights_K = checked_weights(found.weights_K, self.num_networks)
            accuracy, nll = self.evaluate(weights_K)
            gap = self.log_loss.gap(weights_K) if fitted == "log_loss" else None
            gain = cross_fit(self, chosen, options) if crossfit else None
        return SearchResult(
            weights=weights_K,
            strategy=strategy,
            seed=seed,
            objective=fitted,
            evaluations=found.evaluations,
            seconds=seconds,
            accuracy=accuracy,
            nll=nll,
            accuracy_cap=accuracy_cap,
            gap=gap,
            crossfit_gain=None if gain is None else gain[0],
            crossfit_error=None if gain is None else gain[1],
            warnings=(*self._warnings, *found.warnings),
        )

    @cached_property
    def _warnings(self) -> tuple[str, ...]:
        same = [f"networks {i} and {j} are identical" for i, j in self.scores.identical_networks()]
        if self.num_networks > 1 and self.margins.num_disputed == 0:
            same.append("no sample's verdict depends on the weights: all weights are equally accurate")
        return tuple(same)


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
