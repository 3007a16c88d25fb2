"""The problem: scores and labels of K networks on N samples, and the value of a weighting on them."""

from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from wetakd.weights.exact_accuracy import AccuracyRows
from wetakd.weights.exact_accuracy_build import build_accuracy_rows
from wetakd.weights.exact_accuracy_local import LocalAccuracy
from wetakd.weights.log_loss import LogLoss, log_loss_of, losses_of
from wetakd.weights.network_scores import Floats, Integers, NetworkScores, ScoreKind, checked_weights, mix_scores

Objective = Literal["accuracy", "log_loss"]
"""What a search minimises: the exact count of wrong samples, or the log-loss of the mixture."""


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
        scores_are: ScoreKind,
        temperature: float = 1.0,
        mixture: ScoreKind = "probabilities",
    ):
        self.scores = NetworkScores(
            scores_KNC, labels_N, scores_are=scores_are, temperature=temperature, mixture=mixture
        )

    @property
    def num_networks(self) -> int:
        """K."""
        return len(self.scores.scores_KNC)

    @property
    def num_samples(self) -> int:
        """N."""
        return self.scores.num_samples

    @property
    def num_classes(self) -> int:
        """C."""
        return int(self.scores.scores_KNC.shape[2])

    @cached_property
    def accuracy_rows(self) -> AccuracyRows:
        """The rows that decide the accuracy."""
        return build_accuracy_rows(self.scores)

    @cached_property
    def log_loss(self) -> LogLoss:
        """The mixture's log-loss, convex in the weights."""
        return log_loss_of(self.scores)

    def subset(self, index_n: Integers) -> Self:
        """The same networks on the samples `index_n`, sharing what is compiled already."""
        part = copy(self)
        part.scores = self.scores.subset(index_n)
        part.accuracy_rows = self.accuracy_rows.subset(index_n)
        part.log_loss = self.log_loss.subset(index_n)
        return part

    def losses(self, weights_MK: Floats, objective: Objective) -> Floats:
        """What a strategy minimises, for M non-negative weightings of any scale, [M]: samples wrong, or nats."""
        if objective == "accuracy":
            return self.accuracy_rows.count_wrong(weights_MK).astype(np.float64)
        return self.log_loss.values(weights_MK / weights_MK.sum(axis=1, keepdims=True))

    def focused_losses(self, objective: Objective) -> Callable[[Floats], Floats]:
        """The same as `losses`, and faster for a search that closes in on a region."""
        return (
            LocalAccuracy(self.accuracy_rows)
            if objective == "accuracy"
            else lambda weights_MK: self.losses(weights_MK, objective)
        )

    def evaluate(self, weights_K: Any) -> tuple[float, float]:
        """Accuracy and log-loss (nats) of one weighting on this data, straight from the scores; nothing is compiled.

        Raises:
            UserError: weights that are not K finite non-negative numbers with a positive sum.
        """
        weights_K = checked_weights(weights_K, self.num_networks)
        num_right, total = 0, 0.0
        for _, labels_n, scores_KnC in self.scores:
            mixed_nC = mix_scores(scores_KnC, weights_K)
            num_right += int((mixed_nC.argmax(axis=1) == labels_n).sum())
            total += float(losses_of(mixed_nC, labels_n, self.scores.mixture).sum())
        return num_right / self.num_samples, total / self.num_samples
