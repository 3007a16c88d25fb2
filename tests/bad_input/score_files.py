"""Files for `wetakd weights` with one thing wrong."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.wrong_input import WrongInput

K, N, C = 2, 12, 3
LABELS = np.arange(N) % C
_RANDOM = np.random.default_rng(0)
LOGITS = _RANDOM.normal(size=(K, N, C))
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=2, keepdims=True)


def npy(array: Any, allow_pickle: bool = False) -> bytes:
    """The bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=allow_pickle)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    """The bytes of an .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def parquet(columns: Mapping[str, Any]) -> bytes:
    """The bytes of a Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), file)
    return file.getvalue()


def _with(array: np.ndarray, value: float, place: tuple[int, ...] = (1, 5, 2)) -> np.ndarray:
    changed = array.astype(np.float64)
    changed[place] = value
    return changed


def _lists(array_NC: np.ndarray) -> list[list[float]]:
    rows: list[list[float]] = array_NC.tolist()
    return rows


_SHAPES: Mapping[str, Any] = {
    "a number": np.float64(1),
    "one axis": LOGITS[0, 0],
    "four axes": LOGITS[None],
    "no networks": LOGITS[:0],
    "no samples": LOGITS[:, :0],
    "no classes": LOGITS[:, :, :0],
    "one class": LOGITS[:, :, :1],
    "65 networks": np.zeros((65, N, C)),
    "a sample too many": np.zeros((K, N + 1, C)),
    "a sample too few": LOGITS[:, :-1],
    "two classes too few": LOGITS[:, :, :2],
    "samples first": LOGITS.transpose(1, 0, 2),
    "NaN": _with(LOGITS, np.nan),
    "infinity": _with(LOGITS, np.inf),
    "minus infinity": _with(LOGITS, -np.inf),
    "text": np.array([[["a"] * C] * N] * K),
    "booleans": LOGITS > 0,
    "complex": LOGITS * 1j,
    "dates": np.zeros((K, N, C), "datetime64[s]"),
    "records": np.zeros((K, N, C), [("a", "f4")]),
    "bytes": np.zeros((K, N, C), "S4"),
}
_NOT_PROBABILITIES: Mapping[str, np.ndarray] = {
    "logits": LOGITS,
    "negative": _with(PROBABILITIES, -0.1),
    "above one": _with(PROBABILITIES, 1.2),
    "sums of two": PROBABILITIES * 2,
    "sums of a half": PROBABILITIES / 2,
    "zeros": np.zeros((K, N, C)),
    "percent": PROBABILITIES * 100,
    "NaN": _with(PROBABILITIES, np.nan),
    "one row off": _with(PROBABILITIES, 0.99),
}
_LABELS: Mapping[str, Any] = {
    "text": LABELS.astype(str),
    "floats": LABELS / 1,
    "NaN": np.where(LABELS == 0, np.nan, 1.0),
    "booleans": LABELS > 0,
    "two axes": LABELS[:, None],
    "one hot": np.eye(C)[LABELS],
    "a number": np.int64(1),
    "none": LABELS[:0],
    "one too few": LABELS[:-1],
    "one too many": np.append(LABELS, 0),
    "negative": LABELS - 1,
    "from 1": LABELS + 1,
    "huge": np.append(LABELS[:-1], 2**62),
    "beyond 64 bits": np.append(LABELS[:-1].astype(np.uint64), np.uint64(2**64 - 1)),
    "dates": LABELS.astype("datetime64[s]"),
}


def wrong_inputs() -> Iterator[WrongInput]:
    """All of them."""
    for what, array in _SHAPES.items():
        yield _scores(f"npy: {what}", "scores.npy", npy(array))
        if np.ndim(array) == 3 and len(array) > 1:
            arrays = {f"n{k}": each for k, each in enumerate(array)}
            yield _scores(f"npz: {what}", "scores.npz", npz(**arrays))
    for what, array in _NOT_PROBABILITIES.items():
        yield _scores(f"no probabilities: {what}", "scores.npy", npy(array), kind="probabilities")
        columns = {f"n{k}": _lists(each) for k, each in enumerate(array)}
        yield _scores(f"no probabilities: {what}", "scores.parquet", parquet(columns), kind="probabilities")
    for what, labels in _LABELS.items():
        yield _labels(f"npy: {what}", "labels.npy", npy(labels))
        yield _labels(f"npz: {what}", "labels.npz", npz(labels=labels))
        if np.ndim(labels) == 1 and labels.dtype.kind != "M":
            yield _labels(f"parquet: {what}", "labels.parquet", parquet({"label": labels}))
    yield from _damaged()
    yield from _layouts()
    yield from _words()


def _damaged() -> Iterator[WrongInput]:
    good = {
        "npy": npy(LOGITS),
        "npz": npz(a=LOGITS[0], b=LOGITS[1]),
        "parquet": parquet({"a": _lists(LOGITS[0]), "b": _lists(LOGITS[1])}),
    }
    for ending, raw in good.items():
        for what, content in {
            "empty": b"",
            "text": b"1, 2, 3",
            "zeros": bytes(100),
            "half": raw[: len(raw) // 2],
            "all but a byte": raw[:-1],
            "the first ten bytes": raw[:10],
            **({} if ending == "parquet" else {"a wrong start": b"\0\0\0\0" + raw[4:]}),
            "a pickle": pickle.dumps({"a": 1}),
        }.items():
            yield _scores(f"{ending}: {what}", f"scores.{ending}", content)
            yield _labels(f"{ending}: {what}", f"labels.{ending}", content)
    yield _scores("npy called parquet", "scores.parquet", good["npy"])
    yield _scores("parquet called npz", "scores.npz", good["parquet"])
    objects = npy(np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
    yield _scores("npy: objects", "scores.npy", objects)
    yield _labels("npy: objects", "labels.npy", objects)
    header = good["npy"].replace(b"(2, 12, 3)", b"(9, 99, 9)")
    yield _scores("npy: a larger shape than its data", "scores.npy", header)
    yield _scores(
        "npy: a huge shape", "scores.npy", good["npy"].replace(b"(2, 12, 3), }  ", b"(2, 12, 3000000),}"[:15])
    )
    yield _scores(
        "npy: code as a header", "scores.npy", good["npy"].replace(b"'shape': (2, 12, 3)", b"'shape': exec('1 ')")
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../escape.npy", b"not an array")
    yield _scores("npz: a path that climbs", "scores.npz", file.getvalue())


def _layouts() -> Iterator[WrongInput]:
    yield _scores("npz: no array", "scores.npz", npz())
    yield _scores("npz: of two shapes", "scores.npz", npz(a=LOGITS[0], b=LOGITS[0, :-1]))
    yield _scores("npz: a flat array", "scores.npz", npz(a=LOGITS[0, 0]))
    yield _scores("npz: two stacks", "scores.npz", npz(a=LOGITS, b=LOGITS))
    rows = _lists(LOGITS[0])
    for what, columns in {
        "no column": {},
        "numbers": {"a": [1.0] * N},
        "lists of text": {"a": [["x"] * C] * N},
        "lists of nothing": {"a": [[]] * N},
        "missing rows": {"a": [*rows[:-1], None]},
        "missing numbers": {"a": [*rows[:-1], [1.0, None, 2.0]]},
        "ragged": {"a": [*rows[:-1], [1.0]]},
        "lists of lists": {"a": [[row] for row in rows]},
        "lists of different lengths": {"a": rows, "b": [row[:2] for row in rows]},
        "structs": {"a": [{"x": 1.0}] * N},
        "no rows": {"a": pa.array([], pa.list_(pa.float64()))},
        "maps": {"a": pa.array([[("x", 1.0)]] * N, pa.map_(pa.string(), pa.float64()))},
    }.items():
        yield _scores(f"parquet: {what}", "scores.parquet", parquet(columns))
    yield _labels("parquet: no column label", "labels.parquet", parquet({"class": LABELS}))
    yield _labels("parquet: lists", "labels.parquet", parquet({"label": [[1]] * N}))
    yield _labels("parquet: a missing label", "labels.parquet", parquet({"label": [*LABELS[:-1].tolist(), None]}))
    yield _labels("npz: two arrays", "labels.npz", npz(a=LABELS, b=LABELS))
    yield _labels("npz: no array", "labels.npz", npz())


def _words() -> Iterator[WrongInput]:
    files = {"scores.npy": npy(LOGITS), "labels.npy": npy(LABELS), "scores.csv": b"1,2", "scores": npy(LOGITS)}
    for words in (
        ("nowhere.npy", "labels.npy"),
        ("scores.npy", "nowhere.npy"),
        ("scores.csv", "labels.npy"),
        ("scores", "labels.npy"),
        ("labels.npy", "scores.npy"),
        ("scores.npy", "scores.npy"),
        (".", "labels.npy"),
        ("scores.npy", "."),
        ("x" * 300 + ".npy", "labels.npy"),
        ("scores.npy", "labels.npy", "--strategy", "oracle"),
        ("scores.npy", "labels.npy", "--strategy", ""),
    ):
        yield WrongInput("scores", f"weights {words}"[:90], ("weights", *words, "--scores-are", "logits"), files)


def _scores(what: str, name: str, content: bytes, kind: str = "logits") -> WrongInput:
    words = ("weights", name, "labels.npy", "--scores-are", kind, "--strategy", "uniform")
    return WrongInput("scores", what, words, {name: content, "labels.npy": npy(LABELS)})


def _labels(what: str, name: str, content: bytes) -> WrongInput:
    words = ("weights", "scores.npy", name, "--scores-are", "logits", "--strategy", "uniform")
    return WrongInput("labels", what, words, {"scores.npy": npy(LOGITS), name: content})
