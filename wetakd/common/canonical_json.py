"""JSON with one spelling for each value: keys, and files that carry a digest of themselves."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


def key_of(payload: Mapping[str, Any]) -> str:
    """32 hex digits that depend on every value of `payload` and on nothing else.

    Floats count by their shortest exact text, so 0.1 + 0.2 and 0.3 differ, and so do 1 and 1.0. Raises ValueError
    on NaN and infinity, TypeError on what JSON does not have.
    """
    return _digest(to_plain(payload))[:32]


def seed_of(*parts: int | str) -> int:
    """A 31-bit seed that depends on every part, the same in every process."""
    return int(key_of({"seed": list(parts)})[:8], 16) >> 1


def dump_with_digest(content: Mapping[str, Any]) -> bytes:
    """A JSON file with `content` and its own digest in the field `digest`; raises as `key_of` does."""
    body = to_plain(content)
    if "digest" in body:
        raise ValueError("digest: is reserved for the file's own digest")
    return json.dumps({"digest": _digest(body), **body}, sort_keys=True, indent=1, allow_nan=False).encode()


def load_with_digest(raw: bytes) -> dict[str, Any]:
    """The content of what `dump_with_digest` wrote; raises ValueError unless `raw` is that, byte for byte."""
    try:
        body: dict[str, Any] = json.loads(raw)
        del body["digest"]
        if dump_with_digest(body) == raw:
            return body
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ValueError("the file and its digest do not agree")


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_plain(value: Any) -> Any:
    """`value` as JSON has it: mappings with text keys, lists, text, numbers, true, false, null."""
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"a key must be text, not {wrong[0]!r}")
        return {key: to_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a number must be finite, not {value}")
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} is not JSON: {value!r}")
