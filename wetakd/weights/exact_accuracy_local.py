"""Exact counts for a search that closes in on a region, where few rows are left to decide.

With u the weights on the simplex, c a center and B = LL' any positive definite matrix, Cauchy-Schwarz gives
|(u - c).d| <= r |L'd| for r = |L^-1(u - c)|. So for all u within radius R, a row with c.d > R|L'd| holds and needs no
look, and a sample with a row c.d < -R|L'd| is wrong: inside the ball fewer rows count just as exactly.
"""

import numpy as np
from numpy.linalg import cholesky, inv

from wetakd.weights.exact_accuracy import AccuracyRows
from wetakd.weights.network_scores import Floats

SLACK = 2.0**-36
"""Far above the rounding of the bounds; a row kept in vain costs time, never exactness."""
COVARIANCE_RIDGE = 1e-3
"""Part of the mean variance added to every direction, so that B is well conditioned."""
FIRST_FIT = 4
"""The balls are fitted after so many calls, and again whenever that number has grown fourfold: a fit is dear."""
GROWTH = 4


class LocalAccuracy:
    """Counts wrong samples as `AccuracyRows.count_wrong` does, to the last one, and learns from what it is asked.

    c and B are the mean and covariance of a recent call's weights; each weighting is counted on the rows of the
    smaller of two nested balls that holds it, or on all rows.
    """

    def __init__(self, rows: AccuracyRows):
        num_networks = rows.rows_RK.shape[1]
        self._center_K, self._inverse_KK = np.zeros(num_networks), np.eye(num_networks)
        self._radii: list[float] = []
        self._balls = [rows]
        self._calls, self._next_fit = 0, FIRST_FIT

    def __call__(self, weights_MK: Floats) -> Floats:
        """Wrong samples of each of M weightings (non-negative, any positive scale) as float64, [M]."""
        simplex_MK = weights_MK / weights_MK.sum(axis=1, keepdims=True)
        wrong_M = np.empty(len(weights_MK))
        ball_M = np.searchsorted(self._radii, self._distance(simplex_MK))
        for number, rows in enumerate(self._balls):
            inside = np.flatnonzero(ball_M == number)
            if len(inside):
                wrong_M[inside] = rows.count_wrong(weights_MK[inside])
        self._calls += 1
        if self._calls == self._next_fit:
            self._next_fit *= GROWTH
            self._fit(simplex_MK)
        return wrong_M

    def _distance(self, simplex_MK: Floats) -> Floats:
        return _lengths((simplex_MK - self._center_K) @ self._inverse_KK)

    def _fit(self, simplex_MK: Floats) -> None:
        self._center_K = simplex_MK.mean(axis=0)
        away_MK = simplex_MK - self._center_K
        spread_KK = away_MK.T @ away_MK / len(away_MK)
        spread_KK += (COVARIANCE_RIDGE * spread_KK.diagonal().mean() + 1e-20) * np.eye(len(spread_KK))
        factor_KK = cholesky(spread_KK)
        self._inverse_KK = inv(factor_KK).T
        everything = self._balls[-1]
        middle_R = everything.rows_RK @ self._center_K
        reach_R = _lengths(everything.rows_RK @ factor_KK)
        distance_M = self._distance(simplex_MK)
        self._radii = [np.quantile(distance_M, 0.7), 1.2 * distance_M.max()]
        self._balls = [*(everything.restricted(middle_R, r * reach_R + SLACK) for r in self._radii), everything]


def _lengths(vectors_XK: Floats) -> Floats:
    lengths_X: Floats = np.sqrt(np.vecdot(vectors_XK, vectors_XK))  # half the time of `norm`
    return lengths_X
