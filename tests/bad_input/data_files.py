"""Images and labels with one thing wrong, as Parquet, as a folder, and from the user's own function."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from tests.bad_input.study_files import BASE
from tests.bad_input.wrong_input import WrongInput

NUM, CLASSES = 24, 3
LABELS = [i % CLASSES for i in range(NUM)]
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")


@cache
def image(seed: int = 0, form: str = "PNG", size: int = 8, mode: str = "RGB") -> bytes:
    """A noisy picture as the bytes of a file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, form)
    return file.getvalue()


@cache
def images(form: str = "PNG") -> tuple[bytes, ...]:
    """Enough pictures for a study."""
    return tuple(image(i, form) for i in range(NUM))


def parquet(pictures: Any, labels: Any, kind: pa.DataType | None = None, **names: str) -> bytes:
    """A file in the layout of the Hugging Face hub."""
    rows = [{"bytes": picture, "path": None} for picture in pictures]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        names.get("image", "img"): pa.array(rows, struct) if kind is None else pa.array(pictures, kind),
        names.get("label", "label"): pa.array(labels),
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def folder(pictures: Any, labels: Any, ending: str = "png") -> dict[str, bytes]:
    """One sub-folder a class."""
    return {
        f"train/{'abc'[label]}/{i:03}.{ending}": picture
        for i, (picture, label) in enumerate(zip(pictures, labels, strict=True))
    }


def wrong_inputs() -> Iterator[WrongInput]:
    """All of them."""
    yield from _damaged_images()
    yield from _labels()
    yield from _parquet_files()
    yield from _folders()
    yield from _functions()


def _wrong_input(
    kind: str, what: str, files: Mapping[str, bytes], data: Mapping[str, Any], *says: str, **blocks: Any
) -> WrongInput:
    study = yaml.safe_dump(BASE | {"data": dict(data)} | blocks).encode()
    return WrongInput(kind, what, ("run", "study.yaml", "--quiet"), {"study.yaml": study, **files}, says)


def _of_parquet(what: str, content: bytes, *says: str, **blocks: Any) -> WrongInput:
    data = {"source": "parquet", "train": "train.parquet"}
    return _wrong_input("parquet", what, {"train.parquet": content}, data, *says, **blocks)


def _of_folder(what: str, files: Mapping[str, bytes], *says: str, **data: Any) -> WrongInput:
    return _wrong_input("folder", what, files, {"source": "folder", "train": "train"} | data, *says)


_DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "no bytes": lambda raw: b"",
    "text": lambda raw: b"not an image",
    "zeros": lambda raw: bytes(len(raw)),
    "a web page": lambda raw: b"<!DOCTYPE html><html>404</html>",
    "a pickle": lambda raw: b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
    "the first 4 bytes": lambda raw: raw[:4],
    "the first 20 bytes": lambda raw: raw[:20],
    "the first half": lambda raw: raw[: len(raw) // 2],
    "a wrong start": lambda raw: b"\0\0" + raw[2:],
}


def _damaged_images() -> Iterator[WrongInput]:
    for form in FORMATS:
        for damage, broken in _DAMAGES.items():
            good, last, ending = images(form), NUM - 1, form.lower()
            bad_first, bad_last = [broken(good[0]), *good[1:]], [*good[:-1], broken(good[-1])]
            what = f"{form} is {damage}"
            yield _of_parquet(what, parquet(bad_first, LABELS), "data.train", "row 0")
            yield _of_folder(what, folder(bad_last, LABELS, ending), "data.train", f"{last:03}.{ending}")
    for what, odd in {"larger": image(size=9), "smaller": image(size=5), "tiny": image(size=1)}.items():
        pictures = [*images()[:-1], odd]
        yield _of_parquet(f"{what} than the first", parquet(pictures, LABELS), "transform.size", f"row {NUM - 1}")
        yield _of_folder(f"{what} than the first", folder(pictures, LABELS), "transform.size", f"{NUM - 1:03}.png")
    for mode, form in (("F", "TIFF"), ("LAB", "TIFF")):
        pictures = [*images()[:-1], _unreadable(mode, form)]
        yield _of_parquet(f"mode {mode}", parquet(pictures, LABELS), "data.train", f"row {NUM - 1}", mode)
    bomb = parquet([*images()[:-1], _bomb()], LABELS)
    yield _of_parquet("a bomb", bomb, "data.train", f"row {NUM - 1}", transform={"size": 8})


def _unreadable(mode: str, form: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8)).save(file, form)
    return file.getvalue()


def _bomb() -> bytes:
    """A PNG of a few bytes that says it is 60,000 x 60,000 pixels."""
    raw = bytearray(image(1))
    raw[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    raw[29:33] = zlib.crc32(bytes(raw[12:29])).to_bytes(4, "big")
    return bytes(raw)


_LABELS: Mapping[str, Any] = {
    "text": ["cat", "dog", "eel"] * 8,
    "numbers as text": ["0", "1", "2"] * 8,
    "fractions": [0.5, 1.0, 2.0] * 8,
    "whole fractions": [0.0, 1.0, 2.0] * 8,
    "NaN": [0.0, 1.0, float("nan")] * 8,
    "booleans": [True, False] * 12,
    "lists": [[0], [1], [2]] * 8,
    "maps": [{"a": 1}] * NUM,
    "nothing": [None] * NUM,
    "bytes": [b"0", b"1", b"2"] * 8,
    "one missing": [*LABELS[:-1], None],
    "one negative": [*LABELS[:-1], -1],
    "from 1": [1, 2, 3] * 8,
    "a gap": [0, 1, 3] * 8,
    "a huge one": [*LABELS[:-1], 2**62],
    "beyond 64 bits": pa.array([*LABELS[:-1], 2**64 - 1], pa.uint64()),
    "one class": [0] * NUM,
    "a class of one": [*LABELS[:-1], 3],
    "a class of two": [*LABELS[:-2], 3, 3],
    "as many classes as images": list(range(NUM)),
}


def _labels() -> Iterator[WrongInput]:
    for what, labels in _LABELS.items():
        says = ("data", "label") if "class" not in what else ("data",)
        yield _of_parquet(f"labels: {what}", parquet(images(), labels), *says)


def _parquet_files() -> Iterator[WrongInput]:
    good = parquet(images(), LABELS)
    for what, content in {
        "empty": b"",
        "text": b"img,label\n",
        "a picture": image(),
        "magic alone": b"PAR1",
        "magic twice": b"PAR1PAR1",
        "no end": good[:-40],
        "half": good[: len(good) // 2],
        "no start": good[100:],
        "zeros inside": good[:100] + bytes(len(good) - 200) + good[-100:],
        "a wrong footer": good[:-60] + bytes(40) + good[-20:],
        "a wrong footer size": good[:-8] + b"\xff\xff\xff\x7fPAR1",
        "no rows": parquet([], pa.array([], pa.int64())),
        "no image column": parquet(images(), LABELS, image="picture"),
        "no label column": parquet(images(), LABELS, label="class"),
        "images as text": parquet(["a"] * NUM, LABELS, pa.string()),
        "images as numbers": parquet([1] * NUM, LABELS, pa.int32()),
        "images as lists": parquet([[1, 2]] * NUM, LABELS, pa.list_(pa.uint8())),
        "structs without bytes": parquet([{"path": "a"}] * NUM, LABELS, pa.struct([("path", pa.string())])),
        "missing image": parquet([*images()[:-1], None], LABELS),
        "all images missing": parquet([None] * NUM, LABELS),
        "two images": parquet(images()[:2], [0, 1]),
        "one image": parquet(images()[:1], [0]),
    }.items():
        yield _of_parquet(what, content, "data")
    for train, test in (
        ("nowhere.parquet", None),
        ("*.nothing", None),
        ("train.parquet/x", None),
        ("", None),
        ("~nobody/x.parquet", None),
        ("nothing://a/b", None),
        ("http://127.0.0.1:9/a.parquet", None),
        ("train.parquet", "nowhere.parquet"),
        ("train.parquet", "train.parquet"),
        ("train.parquet", "*.parquet"),
    ):
        data = {"source": "parquet", "train": train} | ({"test": test} if test is not None else {})
        yield _wrong_input("parquet", f"train {train!r}, test {test!r}", {"train.parquet": good}, data, "data.t")
    for field, value in (("max_train_images", 2), ("max_test_images", 2), ("image_column", ""), ("label_column", "x")):
        data = {"source": "parquet", "train": "train.parquet", field: value}
        yield _wrong_input("parquet", f"{field}={value!r}", {"train.parquet": good}, data, "data")
    both = {"source": "parquet", "train": "train.parquet", "test": "test.parquet"}
    for what, test_file in {
        "a class that train has not": parquet(images(), [*LABELS[:-1], 3]),
        "a class without an image": parquet(images()[:2], [0, 1]),
        "no rows": parquet([], pa.array([], pa.int64())),
        "labels as text": parquet(images(), ["a"] * NUM),
        "a damaged image": parquet([*images()[:-1], b"damaged"], LABELS),
        "another size": parquet([*images()[:-1], image(size=9)], LABELS),
    }.items():
        files = {"train.parquet": good, "test.parquet": test_file}
        yield _wrong_input("parquet", f"test set: {what}", files, both, "test", splits={"weigh": 0.2, "choose": 0.2})
    yield _wrong_input(
        "parquet", "a test set and splits.test", {"train.parquet": good, "test.parquet": good}, both, "splits.test"
    )


def _folders() -> Iterator[WrongInput]:
    good = folder(images(), LABELS)
    yield _of_folder("none", {}, "data.train")
    yield _of_folder("a file", {"train": b"x"}, "data.train")
    yield _of_folder("empty", {"train/.keep": b""}, "data.train")
    yield _of_folder("no sub-folders", {"train/a.png": image()}, "data.train")
    yield _of_folder("one class", {name: raw for name, raw in good.items() if "/a/" in name}, "data.train")
    yield _of_folder("an empty class", good | {"train/d/.keep": b""}, "data.train", "d")
    yield _of_folder("a class of other files", good | {"train/d/notes.txt": b"x"}, "data.train", "d")
    yield _of_folder("a class of one", good | {"train/d/0.png": image()}, "data", "'d'")
    yield _of_folder("text as PNG", good | {"train/a/x.png": b"text"}, "x.png")
    yield _of_folder("an empty file", good | {"train/a/x.png": b""}, "x.png")
    yield _of_folder("a PDF", good | {"train/a/x.pdf": b"%PDF-1.4"}, "x.pdf")
    yield _of_folder("no test folder", good, "data.test", test="nowhere")
    test = {name.replace("train/", "test/"): raw for name, raw in good.items()}
    yield _of_folder("an unknown class in test", good | test | {"test/x/0.png": image()}, "data.test", "x", test="test")
    yield _of_folder(
        "a class without test images",
        good | {name: raw for name, raw in test.items() if "/a/" not in name},
        "test",
        test="test",
    )


_FUNCTIONS: Mapping[str, str] = {
    "raises": "raise RuntimeError('no\\nnetwork')",
    "raises the user's own error": "class Mine(Exception): pass\n    raise Mine",
    "leaves": "raise SystemExit('bye')",
    "leaves silently": "import sys; sys.exit()",
    "asks": "return input()",
    "returns nothing": "pass",
    "returns a number": "return 7",
    "returns one array": "return images",
    "returns three": "return images, labels, images",
    "returns five": "return images, labels, images, labels, labels",
    "returns text": "return 'images', 'labels'",
    "floats": "return images / 255, labels",
    "signed": "return images.astype('int8'), labels",
    "flat": "return images.reshape(len(images), -1), labels",
    "five axes": "return images[None], labels",
    "two channels": "return images[..., :2], labels",
    "no pixels": "return images[:, :0], labels",
    "no images": "return images[:0], labels[:0]",
    "ambiguous": "return images[:, :3], labels",
    "ragged": "return [[1], [1, 2]], labels",
    "objects": "return np.array([None] * 24), labels",
    "fewer labels": "return images, labels[:-1]",
    "more labels": "return images, list(labels) + [0]",
    "labels as floats": "return images, labels / 1",
    "labels as text": "return images, [str(label) for label in labels]",
    "labels as a table": "return images, labels[:, None]",
    "labels from 1": "return images, labels + 1",
    "negative labels": "return images, labels - 1",
    "one class": "return images, labels * 0",
    "a test set of floats": "return images, labels, images / 255, labels",
    "a test set without labels": "return images, labels, images, labels[:0]",
    "an empty test set": "return images, labels, images[:0], labels[:0]  # test",
    "a test set of another size": "return images, labels, images[:, :6], labels  # test",
    "too many arguments": "return images, labels",
}
_HEAD = "import numpy as np\nimages = np.zeros((24, 8, 8, 3), np.uint8)\nlabels = np.arange(24) % 3\n"


def _functions() -> Iterator[WrongInput]:
    for number, (what, body) in enumerate(_FUNCTIONS.items()):
        arguments = "a, b" if what == "too many arguments" else ""
        yield _function(what, number, f"{_HEAD}def load({arguments}):\n    {body}\n")
    for number, (what, module) in enumerate(
        {
            "no such function": "",
            "a number": "load = 7",
            "does not compile": "def load(:",
            "raises when imported": "1 / 0",
            "imports what is not there": "import nowhere_at_all",
            "leaves when imported": "raise SystemExit(0)",
        }.items()
    ):
        yield _function(what, 100 + number, module)
    data = {"source": "callable", "callable": "nowhere.at.all:load"}
    yield _wrong_input("function", "no such module", {}, data, "data.callable", "nowhere")
    for number, options in enumerate(({"nonsense": 1}, {"a": float("nan")}, {"a": [1, {"b": 2}]})):
        yield _function(f"options {options}", 200 + number, f"{_HEAD}def load():\n    return 7\n", options=options)


def _function(what: str, number: int, module: str, **data: Any) -> WrongInput:
    # A module of its own each: Python imports a name once.
    name = f"bad_images_{number}"
    block = {"source": "callable", "callable": f"{name}:load"} | data
    splits = {"weigh": 0.2, "choose": 0.2} | ({} if "# test" in module else {"test": 0.2})
    return _wrong_input("function", what, {f"{name}.py": module.encode()}, block, splits=splits)
