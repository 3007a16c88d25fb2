"""The exact minimum of the mixture's log-loss, by Newton steps on the simplex, with its certificate."""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from wetakd.common.strategy_names import CONVEX
from wetakd.weights.ensemble_problem import Problem
from wetakd.weights.network_scores import Floats
from wetakd.weights.strategy_interface import Found, Options, Strategy

TARGET_GAP = 1e-10
MAX_EVALUATIONS = 3000
HESSIAN_RIDGE = 1e-11
"""Part of the Hessian's trace added to its diagonal: identical networks make it singular."""


class Convex(Strategy):
    """Sequential quadratic programming: each Newton model is minimised over the simplex by NNLS, then a line search.

    Always minimises the log-loss, whatever objective is asked for; ends at a duality gap of 1e-10, or where no step
    improves. `evaluations` counts the values and the derivatives computed.
    """

    name = CONVEX
    objective = "log_loss"

    def find(self, problem: Problem, options: Options) -> Found:
        """See `Strategy.find`."""
        loss = problem.log_loss
        budget = options.max_evaluations or MAX_EVALUATIONS
        weights_K = np.full(problem.num_networks, 1 / problem.num_networks)
        value, evaluations, improved = float(loss.values(weights_K[None])[0]), 1, True
        while improved and evaluations < budget:
            gradient_K, hessian_KK = loss.derivatives(weights_K)
            evaluations += 1
            slope = gradient_K @ weights_K
            if slope - gradient_K.min() <= TARGET_GAP:
                break
            aim_K = minimise_quadratic(gradient_K, hessian_KK, weights_K)
            size, improved = 1.0, False
            while not improved and size > 1e-9 and evaluations < budget:
                step_K = weights_K + size * (aim_K - weights_K)
                step_value = float(loss.values(step_K[None])[0])
                evaluations += 1
                improved = step_value <= value + 1e-4 * size * (gradient_K @ aim_K - slope)
                size /= 2
            if improved:
                weights_K, value = step_K, step_value
        return Found(weights_K, evaluations)


def minimise_quadratic(gradient_K: Floats, hessian_KK: Floats, center_K: Floats) -> Floats:
    """The v on the simplex with the least g.(v - w) + (v - w)'H(v - w)/2.

    With H = R'R that is the least |Rv - b|^2, and as sum v = 1, the least |(R - b1')v|^2. Scaling v freely and asking
    for sum v = 1 only in the least-squares sense has a solution of the same direction, and that is plain NNLS.
    """
    num_networks = len(center_K)
    ridge = HESSIAN_RIDGE * np.trace(hessian_KK) / num_networks + np.finfo(float).tiny
    factor_KK = np.linalg.cholesky(hessian_KK + ridge * np.eye(num_networks)).T
    target_K = factor_KK @ center_K - solve_triangular(factor_KK, gradient_K, trans="T")
    system = np.vstack([factor_KK - target_K[:, None], np.ones(num_networks)])
    aim_K: Floats = nnls(system, np.append(np.zeros(num_networks), 1.0))[0]
    aim_K /= aim_K.sum()
    return aim_K
