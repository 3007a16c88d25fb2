"""Focus: exact counts for a search that closes in on a region, where few rows are left to decide.

With u the weights on the simplex, c a center and B = LL' any positive definite matrix, Cauchy-Schwarz gives
|(u - c).d| <= r |L'd| for r = |L^-1(u - c)|. So for all u within radius R, a row with c.d > R|L'd| holds and needs no
look, and a sample with a row c.d < -R|L'd| is wrong. c and B are the mean and covariance of the candidates of the
last generation; every candidate is counted on the rows of the smallest ball that holds it, or on all rows.
"""

from typing import NamedTuple

import numpy as np

from wetakd.weights.margins import Margins
from wetakd.weights.scores import Floats
from wetakd.weights.tiles import Tiles

SLACK = 2.0**-36
"""Far above the rounding of the bounds; a row kept in vain costs time, never exactness."""
RIDGE = 1e-3
"""Part of the mean variance added to every direction, so that B is well conditioned."""
REFIT_AFTER = 80
"""Times the work of building the balls that is counted before they are built anew: a few per cent of the time."""
CALL = 20_000
"""Multiplications that a round of numpy calls costs about as much as."""


class Ball(NamedTuple):
    """What still matters within one radius."""

    tiles: Tiles
    num_rows: int
    num_wrong: int


class Focus:
    """Counts wrong samples as `Margins.count_wrong` does, to the last one, and learns from what it is asked."""

    def __init__(self, margins: Margins):
        self._margins = margins
        num_networks = margins.rows_RK.shape[1]
        self._center_K, self._inverse_KK = np.zeros(num_networks), np.eye(num_networks)
        self._radii = np.empty(0)
        self._balls = [Ball(margins.tiles, len(margins.rows_RK), margins.num_hopeless)]
        self._work = 0
        self._patience = REFIT_AFTER * (len(margins.rows_RK) * (num_networks + 6) // 4 + CALL)

    def __call__(self, weights_MK: Floats) -> Floats:
        """Wrong samples of each of M weightings (non-negative, any positive scale) as float64, [M]."""
        simplex_MK = weights_MK / weights_MK.sum(axis=1, keepdims=True)
        wrong_M = np.empty(len(weights_MK))
        ball_M = np.searchsorted(self._radii, self._distance(simplex_MK))
        for number, ball in enumerate(self._balls):
            inside = np.flatnonzero(ball_M == number)
            if len(inside):
                wrong_M[inside] = ball.tiles.count_violated(weights_MK[inside]) + ball.num_wrong
                self._work += ball.num_rows * len(inside)
        if self._work > self._patience:
            self._refit(simplex_MK)
        return wrong_M

    def _distance(self, simplex_MK: Floats) -> Floats:
        away_MK = (simplex_MK - self._center_K) @ self._inverse_KK
        distance_M: Floats = np.sqrt(np.einsum("mk,mk->m", away_MK, away_MK))
        return distance_M

    def _refit(self, simplex_MK: Floats) -> None:
        num_networks = simplex_MK.shape[1]
        self._work = 0
        self._center_K = simplex_MK.mean(axis=0)
        away_MK = simplex_MK - self._center_K
        spread_KK = away_MK.T @ away_MK / len(away_MK)
        spread_KK += (RIDGE * np.trace(spread_KK) / num_networks + 1e-20) * np.eye(num_networks)
        factor_KK = np.linalg.cholesky(spread_KK)
        self._inverse_KK = np.linalg.inv(factor_KK).T
        distance_M = self._distance(simplex_MK)
        self._radii = np.array([np.quantile(distance_M, 0.7), distance_M.max(), 1.5 * distance_M.max()])
        middle_R = self._margins.rows_RK @ self._center_K
        spread_RK = self._margins.rows_RK @ factor_KK
        reach_R = np.sqrt(np.einsum("rk,rk->r", spread_RK, spread_RK))
        self._balls = [*(self._ball(middle_R, radius * reach_R + SLACK) for radius in self._radii), self._balls[-1]]

    def _ball(self, middle_R: Floats, reach_R: Floats) -> Ball:
        margins = self._margins
        wrong_N = np.zeros(margins.num_samples, dtype=bool)
        wrong_N[margins.sample_R[middle_R < -reach_R]] = True
        open_R = np.flatnonzero((middle_R <= reach_R) & ~wrong_N[margins.sample_R])
        tiles = Tiles(margins.rows_RK[open_R], margins.sample_R[open_R])
        return Ball(tiles, len(open_R), margins.num_hopeless + int(wrong_N.sum()))
