"""What a search found, what it cost, and how far to believe it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from wetakd.weights.network_scores import Floats


@dataclass(frozen=True, eq=False)
class SearchResult:
    """One strategy's answer on one problem."""

    weights: Floats
    """[K], float64, non-negative, sums to 1."""
    strategy: str
    seed: int
    objective: str
    """What the weights minimise: `convex` always has "log_loss"."""
    evaluations: int
    """Candidates whose objective was computed."""
    seconds: float
    """The search alone: neither the one-time compilation of the scores nor the cross-fit."""
    accuracy: float
    """Of the mixture on the data the weights were fitted to: optimistic, never to be reported as their quality."""
    nll: float
    """Log-loss of the mixture on the same data, nats a sample."""
    accuracy_cap: float
    """Certified: no weights have a higher accuracy on this data."""
    gap: float | None
    """Certified: no weights have a log-loss lower by more than this. None unless the log-loss was minimised."""
    crossfit_gain: float | None
    """Accuracy gained over uniform weights on samples unseen by the search (two halves, each judges the other)."""
    crossfit_error: float | None
    """Standard error of `crossfit_gain`."""
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """What the cross-fit says, in words; a gain of up to two standard errors is "within its error"."""
        if self.crossfit_gain is None or self.crossfit_error is None:
            return "not cross-fitted"
        if self.crossfit_gain == self.crossfit_error == 0.0:
            return "the same as uniform"
        if abs(self.crossfit_gain) <= 2 * self.crossfit_error:
            return "within its error"
        return "better than uniform" if self.crossfit_gain > 0 else "worse than uniform"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values; `from_dict` restores the very same floats."""
        return asdict(self) | {"weights": self.weights.tolist(), "warnings": list(self.warnings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, also after a trip through JSON."""
        weights_K = np.array(values["weights"], dtype=np.float64)
        return cls(**{**values, "weights": weights_K, "warnings": tuple(values["warnings"])})
