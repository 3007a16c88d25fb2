"""One point of a sweep: a value for each swept field of the student."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SweepPoint:
    """Values of the swept fields; `EMPTY_POINT` where the study sweeps nothing.

    Make one with `SweepPoint.of`. Its JSON text is in the column `point`, in the names of trials and in `summary.json`.
    """

    _json: str = "{}"  # values may be lists, so the text is what can be hashed and compared

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SweepPoint:
        """The point with these JSON values by field, such as `{"student.recipe.lr": 0.1}`."""
        return cls(json.dumps(values, sort_keys=True))

    @classmethod
    def from_json(cls, text: str) -> SweepPoint:
        """The inverse of `to_json`; raises ValueError unless `text` is a JSON object."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"{text!r} is not a JSON object")
        return cls.of(values)

    def to_json(self) -> str:
        """The values as a JSON object, its keys sorted; `{}` where nothing is swept."""
        return self._json

    @property
    def values(self) -> Mapping[str, Any]:
        """The values by field of the study file."""
        values: Mapping[str, Any] = json.loads(self._json)
        return values

    @property
    def is_empty(self) -> bool:
        """Whether the study sweeps nothing."""
        return self == EMPTY_POINT

    @property
    def label(self) -> str:
        """Such as `temperature 4, alpha 0.9`; empty where nothing is swept."""
        return ", ".join(f"{path.rsplit('.', 1)[-1]} {_value_text(value)}" for path, value in self.values.items())


EMPTY_POINT = SweepPoint()


def _value_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
