"""The log-loss of a mixture, with its gradient and Hessian: convex in the weights for both kinds of mixture.

Averaged probabilities: f(w) = -mean_n log(w . p_n) needs only the K true-class probabilities of each sample, [N, K].
Averaged logits: f(w) = mean_n [logsumexp_c(w . z_nc) - w . z_ny] needs all of them and reads them chunk by chunk.
Sums run in float64: in float32 every line search stops near a gap of 1e-5.
"""

from typing import Protocol

import numpy as np

from wetakd.weights.scores import SMALLEST_PROBABILITY, Floats, Scores

CANDIDATES_AT_ONCE = 64


class LogLoss(Protocol):
    """A convex log-loss over the simplex. Weights are float64 on the simplex."""

    def values(self, weights_MK: Floats) -> Floats:
        """The loss of each of M weightings, nats, [M]."""
        ...

    def derivatives(self, weights_K: Floats) -> tuple[Floats, Floats]:
        """Gradient [K] and Hessian [K, K]."""
        ...

    def gap(self, weights_K: Floats) -> float:
        """Certificate: no weights on the simplex have a loss lower by more than this (Frank-Wolfe duality gap)."""
        ...


def log_loss_of(scores: Scores) -> LogLoss:
    """The log-loss that belongs to the scores' mixture."""
    return ProbabilityLogLoss(scores.true_NK) if scores.mixture == "probabilities" else LogitLogLoss(scores)


class ProbabilityLogLoss:
    """Log-loss of averaged probabilities; the maximum-likelihood mixture-proportion problem."""

    def __init__(self, true_NK: Floats):
        self.true_KN = np.ascontiguousarray(np.maximum(true_NK, SMALLEST_PROBABILITY).T)

    def values(self, weights_MK: Floats) -> Floats:
        """See `LogLoss.values`."""
        loss_M = np.empty(len(weights_MK))
        for first in range(0, len(weights_MK), CANDIDATES_AT_ONCE):
            block = slice(first, first + CANDIDATES_AT_ONCE)
            loss_M[block] = -_sums_of_logs(weights_MK[block] @ self.true_KN) / self.true_KN.shape[1]
        return loss_M

    def derivatives(self, weights_K: Floats) -> tuple[Floats, Floats]:
        """See `LogLoss.derivatives`."""
        num_samples = self.true_KN.shape[1]
        ratio_KN = self.true_KN / (weights_K @ self.true_KN)
        return -ratio_KN.mean(axis=1), ratio_KN @ ratio_KN.T / num_samples

    def gap(self, weights_K: Floats) -> float:
        """See `LogLoss.gap`; the gradient times the weights is -1 here."""
        ratio_K = (self.true_KN / (weights_K @ self.true_KN)).mean(axis=1)
        return float(max(ratio_K.max() - 1.0, 0.0))


def _sums_of_logs(shares_MN: Floats) -> Floats:
    """Sum over n of log share, [M]: a logarithm for each eight, of their product (at least 1e-240: no underflow)."""
    num_samples = shares_MN.shape[1] // 8 * 8
    products_MX = shares_MN[:, :num_samples].reshape(len(shares_MN), 8, -1).prod(axis=1)
    sums_M: Floats = np.log(products_MX).sum(axis=1) + np.log(shares_MN[:, num_samples:]).sum(axis=1)
    return sums_M


class LogitLogLoss:
    """Log-loss of averaged logits (a geometric mean of the networks' distributions)."""

    def __init__(self, scores: Scores):
        self.scores = scores

    def values(self, weights_MK: Floats) -> Floats:
        """See `LogLoss.values`."""
        total_M = np.zeros(len(weights_MK))
        for samples, logits_KnC in self.scores:
            num_networks, num_samples, num_classes = logits_KnC.shape
            true_nK = self.scores.true_NK[samples]
            flat_KX = logits_KnC.astype(np.float64, copy=False).reshape(num_networks, -1)
            for m, weights_K in enumerate(weights_MK):
                mixed_nC = (weights_K @ flat_KX).reshape(num_samples, num_classes)
                highest_n = mixed_nC.max(axis=1)
                partition_n = np.log(np.exp(mixed_nC - highest_n[:, None]).sum(axis=1)) + highest_n
                total_M[m] += partition_n.sum() - (true_nK @ weights_K).sum()
        return total_M / self.scores.num_samples

    def derivatives(self, weights_K: Floats) -> tuple[Floats, Floats]:
        """See `LogLoss.derivatives`: mean of E_p[z] - z_y, and mean covariance of z under p."""
        gradient_K, hessian_KK = np.zeros(len(weights_K)), np.zeros((len(weights_K), len(weights_K)))
        for samples, logits_KnC in self.scores:
            flat_KX = logits_KnC.astype(np.float64, copy=False).reshape(len(weights_K), -1)
            mixed_nC = (weights_K @ flat_KX).reshape(logits_KnC.shape[1:])
            mixed_nC -= mixed_nC.max(axis=1, keepdims=True)
            share_nC = np.exp(mixed_nC)
            share_nC /= share_nC.sum(axis=1, keepdims=True)
            weighted_KX = flat_KX * share_nC.reshape(-1)
            expected_Kn = weighted_KX.reshape(logits_KnC.shape).sum(axis=2)
            gradient_K += expected_Kn.sum(axis=1) - self.scores.true_NK[samples].sum(axis=0)
            hessian_KK += weighted_KX @ flat_KX.T - expected_Kn @ expected_Kn.T
        return gradient_K / self.scores.num_samples, hessian_KK / self.scores.num_samples

    def gap(self, weights_K: Floats) -> float:
        """See `LogLoss.gap`."""
        gradient_K, _ = self.derivatives(weights_K)
        return float(max(gradient_K @ weights_K - gradient_K.min(), 0.0))
