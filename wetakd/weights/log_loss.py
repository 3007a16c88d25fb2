"""The log-loss of a mixture, with its gradient and Hessian: convex in the weights for both kinds of mixture.

Averaged probabilities: f(w) = -mean_n log(w . p_n) needs only the K true-class probabilities of each sample, [N, K].
Averaged logits: f(w) = mean_n [logsumexp_c(w . z_nc) - w . z_ny] needs all of them and reads them chunk by chunk.
Sums run in float64: in float32 every line search stops near a gap of 1e-5.
"""

from abc import ABC, abstractmethod

import numpy as np

from wetakd.weights.network_scores import (
    Floats,
    Integers,
    NetworkScores,
    ScoreKind,
    mix_scores,
    scores_of_class,
    softmax,
)

SMALLEST_PROBABILITY = 1e-30
"""Floor of a true-class probability, so that one sample can't make a log-loss infinite."""


def log_loss_of(scores: NetworkScores) -> "LogLoss":
    """The log-loss of the mixture that these scores ask for."""
    if scores.mixture == "logits":
        return LogitLogLoss(scores)
    true_KN = np.concatenate([scores_of_class(scores_KnC, labels_n) for _, labels_n, scores_KnC in scores], axis=1)
    return ProbabilityLogLoss(np.maximum(true_KN, SMALLEST_PROBABILITY, dtype=np.float64, order="C"))


def losses_of(mixed_nC: Floats, labels_n: Integers, mixture: ScoreKind) -> Floats:
    """Log-loss of mixed scores, nats, [n]."""
    true_n = scores_of_class(mixed_nC, labels_n)
    if mixture == "probabilities":
        losses_n: Floats = -np.log(np.maximum(true_n, SMALLEST_PROBABILITY))
        return losses_n
    highest_n = mixed_nC.max(axis=1)
    losses_n = np.log(np.exp(mixed_nC - highest_n[:, None]).sum(axis=1)) + (highest_n - true_n)
    return losses_n


class LogLoss(ABC):
    """A convex log-loss over the simplex. Weights are float64 on the simplex."""

    @abstractmethod
    def values(self, weights_MK: Floats) -> Floats:
        """The loss of each of M weightings, nats, [M]."""

    @abstractmethod
    def derivatives(self, weights_K: Floats) -> tuple[Floats, Floats]:
        """Gradient [K] and Hessian [K, K]."""

    @abstractmethod
    def subset(self, index_n: Integers) -> "LogLoss":
        """The same on the samples `index_n`."""

    def gap(self, weights_K: Floats) -> float:
        """Certificate: no weights on the simplex have a loss lower by more than this (Frank-Wolfe duality gap)."""
        gradient_K, _ = self.derivatives(weights_K)
        return float(max(gradient_K @ weights_K - gradient_K.min(), 0.0))


class ProbabilityLogLoss(LogLoss):
    """Log-loss of averaged probabilities; the maximum-likelihood mixture-proportion problem."""

    def __init__(self, true_KN: Floats):
        self.true_KN = true_KN

    def subset(self, index_n: Integers) -> "ProbabilityLogLoss":
        """See `LogLoss.subset`."""
        return ProbabilityLogLoss(self.true_KN.take(index_n, axis=1))

    def values(self, weights_MK: Floats) -> Floats:
        """See `LogLoss.values`."""
        return np.array([-_mean_log(weights_K @ self.true_KN) for weights_K in weights_MK])

    def derivatives(self, weights_K: Floats) -> tuple[Floats, Floats]:
        """See `LogLoss.derivatives`."""
        ratio_KN = self.true_KN / (weights_K @ self.true_KN)
        return -ratio_KN.mean(axis=1), ratio_KN @ ratio_KN.T / ratio_KN.shape[1]


def _mean_log(shares_N: Floats) -> float:
    """A logarithm for each eight shares, of their product (at least 1e-240: no underflow), is faster."""
    starts = np.arange(0, len(shares_N), 8)
    return float(np.log(np.multiply.reduceat(shares_N, starts)).sum()) / len(shares_N)


class LogitLogLoss(LogLoss):
    """Log-loss of averaged logits (a geometric mean of the networks' distributions)."""

    def __init__(self, scores: NetworkScores):
        self.scores = scores

    def subset(self, index_n: Integers) -> "LogitLogLoss":
        """See `LogLoss.subset`."""
        return LogitLogLoss(self.scores.subset(index_n))

    def values(self, weights_MK: Floats) -> Floats:
        """See `LogLoss.values`."""
        total_M = np.zeros(len(weights_MK))
        for _, labels_n, logits_KnC in self.scores:
            total_M += [
                losses_of(mix_scores(logits_KnC, weights_K), labels_n, "logits").sum() for weights_K in weights_MK
            ]
        return total_M / self.scores.num_samples

    def derivatives(self, weights_K: Floats) -> tuple[Floats, Floats]:
        """See `LogLoss.derivatives`: mean of E_p[z] - z_y, and mean covariance of z under p."""
        gradient_K, hessian_KK = np.zeros(len(weights_K)), np.zeros((len(weights_K), len(weights_K)))
        for _, labels_n, logits_KnC in self.scores:
            # About the true class, then about the mean: differences of large products would lose a small covariance.
            shifted_KnC = logits_KnC - scores_of_class(logits_KnC, labels_n)[:, :, None].astype(np.float64)
            shares_nC = softmax(mix_scores(logits_KnC, weights_K))
            expected_Kn = (shifted_KnC * shares_nC).sum(axis=2)
            gradient_K += expected_Kn.sum(axis=1)
            shifted_KnC -= expected_Kn[:, :, None]
            flat_KX = shifted_KnC.reshape(len(weights_K), -1)
            hessian_KK += (flat_KX * shares_nC.reshape(-1)) @ flat_KX.T
        return gradient_K / self.scores.num_samples, hessian_KK / self.scores.num_samples
