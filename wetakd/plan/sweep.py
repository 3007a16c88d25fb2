"""Points of a sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def describe_point(point: str) -> Mapping[str, Any]:
    """The swept values of a point by field."""
    values: Mapping[str, Any] = json.loads(point)
    return values
