"""One spelling for each value, and files that know whether they are whole."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wetakd.common.canonical_json import dump_with_digest, key_of, load_with_digest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(), JSON))
def test_a_key_depends_on_values_and_not_on_order(payload: dict[str, object]) -> None:
    key = key_of(payload)
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")
    assert key == key_of(dict(reversed(payload.items()))) == key_of(json.loads(json.dumps(payload)))
    assert key != key_of({**payload, "one more": 1})


def test_a_key_tells_apart_what_differs() -> None:
    different = [0.3, 0.1 + 0.2, 1, 1.0, True, "1", None, [1], [[1]], {}, {"a": 1}, {"a": None}, -0.0, 0.0]
    assert len({key_of({"x": value}) for value in different}) == len(different)
    assert key_of({"x": (1, 2)}) == key_of({"x": [1, 2]})


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, -math.inf]])
def test_a_key_refuses_what_equals_nothing(value: object) -> None:
    with pytest.raises(ValueError, match="finite"):
        key_of({"lr": value})


@pytest.mark.parametrize("value", [b"bytes", object(), {1: "a"}, {1, 2}])
def test_a_key_refuses_what_json_lacks(value: object) -> None:
    with pytest.raises(TypeError):
        key_of({"x": value})


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(), JSON).filter(lambda content: "digest" not in content), st.data())
def test_a_sealed_file_is_read_whole_or_not_at_all(content: dict[str, object], data: st.DataObject) -> None:
    raw = dump_with_digest(content)
    assert load_with_digest(raw) == json.loads(json.dumps(content))
    place, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    changed = raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]
    for damaged in (changed, raw[:place], raw + b" "):
        with pytest.raises(ValueError, match="digest"):
            load_with_digest(damaged)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b'"digest"', b"[" * 100_000, b'{"digest": "0"}', b"\xff"])
def test_what_was_never_sealed_is_not_read(raw: bytes) -> None:
    with pytest.raises(ValueError, match="digest"):
        load_with_digest(raw)
