"""What pydantic complains about, in the words of a study file: `must be ..., got ...`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

_LONGEST = 60
# What the value of a field must be, by the type of the error that says that it is of another type.
_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a block of fields",
    "mapping_type": "a block of fields",
    "model_type": "a block of fields",
    "model_attributes_type": "a block of fields",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def is_about_type(error: ErrorDetails) -> bool:
    """Whether the value is of another type than the field, or none of its words."""
    return error["type"] in _KINDS or error["type"] == "literal_error"


def error_message(errors: Sequence[ErrorDetails]) -> str:
    """One sentence for what is wrong with one value; several errors where its field may be of several types."""
    kinds = list(dict.fromkeys(_kind(error) for error in errors if is_about_type(error)))
    if len(kinds) == len(errors) or len(kinds) > 1:
        return f"must be {' or '.join(kinds)}, got {value_text(errors[0]['input'])}"
    return _single_error_message(errors[0])


def value_text(value: Any) -> str:
    """A value as a study file writes it, cut where it is long."""
    words = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "…"


def _kind(error: ErrorDetails) -> str:
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"])
    return _KINDS[error["type"]]


def _single_error_message(error: ErrorDetails) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if is_about_type(error):
        wanted = _kind(error)
    elif kind == "finite_number" or _is_nan(value):  # NaN is outside every bound
        wanted = "a finite number"
    elif kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        wanted = f"{words} {_number(context[name])}"
    elif kind in ("too_short", "too_long"):
        return _length(kind, context)
    elif kind == "string_too_short":
        wanted = "text that is not empty"
    elif kind == "string_pattern_mismatch":
        wanted = f"text that matches the pattern {context['pattern']}"
    else:
        return f"{error['msg'][0].lower()}{error['msg'][1:]}, got {value_text(value)}"
    return f"must be {wanted}, got {value_text(value)}"


def _length(kind: str, context: Mapping[str, Any]) -> str:
    words, name = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
    limit = context[name]
    return f"must have {words} {limit} {'entry' if limit == 1 else 'entries'}, got {context['actual_length']}"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
