"""The record of one epoch of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Epoch:
    """One epoch's record: mean training loss, rate of its last step, and the split choose at its end (view 0)."""

    epoch: int
    loss: float
    lr: float
    choose_accuracy: float
    choose_nll: float
    seconds: float
    ended_ms: int = field(default=0, compare=False)
    """When it ended, in milliseconds since 1970 (UTC)."""
    is_stored: bool = field(default=False, compare=False)
    """Whether storage had it already when this training began. In no record."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the record."""
        return {name: value for name, value in asdict(self).items() if name != "is_stored"}

    def to_message(self) -> dict[str, Any]:
        """Plain data for whoever follows the training."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The reverse of `to_dict` and `to_message`."""
        return cls(**data)
