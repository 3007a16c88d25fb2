"""What every block of the study file shares: frozen models, strict about keys, and the types of their fields."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]
"""`true` or `false`: no number, and no text such as `on`."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _json_value(value: Any) -> Any:
    """`value`; raises ValueError unless it has one meaning as JSON, for it is part of keys."""
    if isinstance(value, dict | list | tuple):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            _json_value(part)
        wrong = [key for key in value if not isinstance(key, str)] if isinstance(value, dict) else []
        if wrong:
            raise ValueError(f"{wrong[0]!r} must be text, as the name of a value")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, got {value}")
    elif value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} must be text, a number, true, false, null, or a list or block of them")
    return value


Plain = Annotated[Any, AfterValidator(_json_value)]

_Values = TypeVar("_Values", bound=tuple[object, ...])


def named_once(values: _Values) -> _Values:
    """`values`; raises ValueError where one of them stands there twice."""
    if len(set(values)) != len(values):
        raise ValueError(f"{list(values)} names a value twice")
    return values


class Model(BaseModel):
    """What every block of the file shares: frozen, and strict about keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
