"""What each network adds to the pool's accuracy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import comb

from wetakd.weights.blas_threads import one_blas_thread
from wetakd.weights.ensemble_problem import Problem
from wetakd.weights.network_scores import Floats, Integers

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

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values; `from_dict` restores the very same floats."""
        shapley = None if self.shapley_K is None else self.shapley_K.tolist()
        return {"leave_one_out": self.leave_one_out_K.tolist(), "shapley": shapley}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also after a trip through JSON."""
        shapley = values["shapley"]
        return cls(np.array(values["leave_one_out"]), None if shapley is None else np.array(shapley))


def contributions(problem: Problem) -> Contributions:
    """Leave-one-out and exact Shapley values of v(S), the accuracy of the uniform mixture over the networks S.

    v(no networks) is the share of the majority class.
    """
    everyone_K = np.ones(problem.num_networks, dtype=np.intp)
    value, *without_K = _coalition_values(problem, np.vstack([everyone_K, 1 - np.eye(len(everyone_K), dtype=np.intp)]))
    shapley_K = _shapley(problem) if problem.num_networks <= MAX_SHAPLEY_NETWORKS else None
    return Contributions(value - np.array(without_K), shapley_K)


def _coalition_values(problem: Problem, members_SK: Integers) -> Floats:
    """v(S) of each coalition; a 1 says that the network belongs."""
    majority = np.bincount(problem.scores.labels_N).max() / problem.num_samples
    with one_blas_thread():
        wrong_S = problem.accuracy_rows.count_wrong(members_SK.astype(np.float64))
    right_S = 1.0 - wrong_S / problem.num_samples
    return np.where(members_SK.any(axis=1), right_S, majority)


def _shapley(problem: Problem) -> Floats:
    """A coalition counts for its members and against the others, by the share of the orders in which it arises."""
    everyone_K = np.arange(problem.num_networks)
    members_SK = np.arange(2**problem.num_networks)[:, None] >> everyone_K & 1
    share_of_orders = 1.0 / (problem.num_networks * comb(problem.num_networks - 1, everyone_K))
    others_SK = members_SK.sum(axis=1, keepdims=True) - members_SK
    shapley_K: Floats = _coalition_values(problem, members_SK) @ ((2 * members_SK - 1) * share_of_orders[others_SK])
    return shapley_K
