"""What each network adds to the pool's accuracy."""

from dataclasses import dataclass
from math import factorial
from typing import TYPE_CHECKING

import numpy as np

from wetakd.weights.blas import one_blas_thread
from wetakd.weights.scores import Floats

if TYPE_CHECKING:
    from wetakd.weights.problem import Problem

MAX_SHAPLEY_NETWORKS = 10
"""Beyond it the 2^K coalitions are too many."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """Accuracy that each of K networks adds, on the data the weights are fitted to."""

    leave_one_out_K: Floats
    """Accuracy of the uniform mixture of all minus that without the network."""
    shapley_K: Floats | None
    """The network's mean marginal accuracy over all orders of joining (Shapley 1953): they sum to the accuracy of all
    minus the majority class's share. None above 10 networks."""


def contributions(problem: "Problem") -> Contributions:
    """Leave-one-out and exact Shapley values of v(S), the accuracy of the uniform mixture over the networks S.

    v(no networks) is the share of the majority class.
    """
    with one_blas_thread():
        return _contributions(problem)


def _contributions(problem: "Problem") -> Contributions:
    num_networks = problem.num_networks
    if num_networks <= MAX_SHAPLEY_NETWORKS:
        value_S = _coalition_values(problem)
        without_K = value_S[(2**num_networks - 1) ^ (1 << np.arange(num_networks))]
        return Contributions(value_S[-1] - without_K, _shapley(value_S, num_networks))
    everyone_and_without = np.vstack([np.ones(num_networks), 1.0 - np.eye(num_networks)])
    value_M = 1.0 - problem.margins.count_wrong(everyone_and_without) / problem.num_samples
    return Contributions(value_M[0] - value_M[1:], None)


def _coalition_values(problem: "Problem") -> Floats:
    """v(S) for every S, [2^K]; bit k of the index says whether network k belongs."""
    members_SK = np.arange(2**problem.num_networks)[:, None] >> np.arange(problem.num_networks) & 1
    wrong_S = problem.margins.count_wrong(members_SK[1:].astype(np.float64))
    majority = np.bincount(problem.scores.labels_N).max() / problem.num_samples
    return np.append(majority, 1.0 - wrong_S / problem.num_samples)


def _shapley(value_S: Floats, num_networks: int) -> Floats:
    coalition_S = np.arange(len(value_S))
    size_S = np.bitwise_count(coalition_S)
    orders = [factorial(s) * factorial(num_networks - s - 1) / factorial(num_networks) for s in range(num_networks)]
    shapley_K = np.empty(num_networks)
    for k in range(num_networks):
        without = coalition_S[coalition_S >> k & 1 == 0]
        marginal = value_S[without | 1 << k] - value_S[without]
        shapley_K[k] = np.array(orders)[size_S[without]] @ marginal
    return shapley_K
