"""Parquet in the layout of Hugging Face's data sets: images as encoded bytes, labels as integers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from wetakd.common.errors import UserError, first_line
from wetakd.common.redact import redact
from wetakd.config import ParquetData
from wetakd.data.sources._labelled_images import ImageSource, LabelledImages

_BATCH_ROWS = 512
_USUAL_LABELS = ("label", "labels", "class", "target", "y", "fine_label")


@dataclass(frozen=True)
class _File:
    """One Parquet file, opened anew for each pass."""

    field: str
    given: str  # path, glob or URI as the user wrote it; may hold credentials
    filesystem: fs.FileSystem
    path: str

    @property
    def display_name(self) -> str:
        """The path or URI without credentials."""
        scheme, found, _ = self.given.partition("://")
        return f"{scheme}://{self.path}" if found else self.path

    def error(self, reason: Exception | str) -> UserError:
        return UserError(f"{self.field}: {self.display_name!r} {redact(first_line(reason), self.given)}")

    def open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.filesystem.open_input_file(self.path))
        except (pa.ArrowException, OSError) as error:
            raise self.error(f"cannot be read as Parquet: {error}") from None

    def labels(self, data: ParquetData) -> np.ndarray:
        """int64 labels, once both columns are known to be of the right kind."""
        file = self.open()
        self._check_image_column(file, data.image_column)
        column = data.label_column
        kind = self._type(file, "label_column", column)
        if not pa.types.is_integer(kind):
            raise self.error(f"has labels of type {kind} in column {column!r}; integers 0..C-1 are needed")
        try:
            values = file.read(columns=[column]).column(0).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise self.error(f"cannot be read as Parquet: {error}") from None
        if values.null_count:
            raise self.error(f"row {pc.index(values.is_null(), True).as_py()} has no label in column {column!r}")
        labels: np.ndarray = values.to_numpy(zero_copy_only=False).astype(np.int64)
        return labels

    def images(self, column: str) -> Iterator[bytes | None]:
        """The encoded images in order, read a few hundred at a time."""
        file, row = self.open(), 0
        plain = _is_bytes(self._type(file, "image_column", column))
        try:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[column if plain else f"{column}.bytes"]):
                values = batch.column(0)
                yield from (values if plain else pc.struct_field(values, "bytes")).to_pylist()
                row += len(values)
        except (pa.ArrowException, OSError) as error:
            raise self.error(f"cannot be read from row {row} on: {error}") from None

    def class_names(self, column: str) -> tuple[str, ...] | None:
        return _class_names(self.open().schema_arrow.metadata or {}, column)

    def _check_image_column(self, file: pq.ParquetFile, column: str) -> None:
        kind = self._type(file, "image_column", column)
        inner = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
        if not _is_bytes(inner):
            raise self.error(f"has {kind} in column {column!r}; bytes, or a struct with a field `bytes`, are needed")

    def _type(self, file: pq.ParquetFile, setting: str, column: str) -> pa.DataType:
        names = file.schema_arrow.names
        if names.count(column) != 1:
            raise UserError(f"data.{setting}: {column!r} is not a column of {self.display_name!r}, which has {names}")
        return file.schema_arrow.field(column).type


def open_parquet(data: ParquetData) -> ImageSource:
    train = [file for path in data.train for file in _expand("data.train", path)]
    test = [file for path in data.test or () for file in _expand("data.test", path)]
    both = {file.path for file in train} & {file.path for file in test}
    if both:
        raise UserError(f"data.test: {min(both)!r} is also in data.train; the two must not share images")
    names = train[0].class_names(data.label_column)
    return ImageSource(_parquet_part(data, train), _parquet_part(data, test) if test else None, names)


def _parquet_part(data: ParquetData, files: Sequence[_File]) -> LabelledImages:
    labels = [file.labels(data) for file in files]
    starts = np.cumsum([0, *map(len, labels)])

    def where(i: int) -> str:
        file = int(np.searchsorted(starts, i, side="right")) - 1
        return f"row {i - starts[file]} of {files[file].display_name!r}"

    def images() -> Iterator[bytes | None]:
        return (image for file in files for image in file.images(data.image_column))

    return LabelledImages(files[0].field, np.concatenate(labels), images, where)


def find_columns(path: str) -> tuple[str, str]:
    """Names of the image and the label column of the Parquet files at `path`, by their types.

    Raises:
        UserError: no file, no column of images, or not one of labels.
    """
    file = _expand("data.train", path)[0]
    fields = list(file.open().schema_arrow)
    images = [
        f.name
        for f in fields
        if _is_bytes(f.type) or (pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0)
    ]
    integers = [field.name for field in fields if pa.types.is_integer(field.type)]
    labels = [name for name in integers if name in _USUAL_LABELS] or integers
    if not images:
        raise file.error(f"has no column of images (structs with `bytes`, or bytes) among {[f.name for f in fields]}")
    if not labels or (len(labels) > 1 and labels is integers):
        raise file.error(f"does not say which of {[f.name for f in fields]} holds integer labels; call it `label`")
    return images[0], labels[0]


def _expand(field: str, path: str) -> list[_File]:
    """The files behind a path, a folder, a glob (per component, without `**`) or a URI of one of them, sorted.

    What exists under the name as it is written wins over its reading as a glob.
    """
    try:
        if "://" in path:
            filesystem, base = fs.FileSystem.from_uri(path)
        else:
            filesystem, base = fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
        kind = filesystem.get_file_info(base).type
        names = [base] if kind == fs.FileType.File else _glob(filesystem, base, kind == fs.FileType.Directory)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{field}: {redact(path)!r} cannot be opened: {redact(first_line(error), path)}") from None
    if not names:
        raise UserError(f"{field}: {redact(path)!r}: no such file")
    return [_File(field, path, filesystem, name) for name in sorted(names)]


def _glob(filesystem: fs.FileSystem, base: str, is_folder: bool) -> list[str]:
    parts = [*base.split("/"), "*.parquet"] if is_folder else base.split("/")
    fixed = _num_literal(filesystem, parts, known=len(parts) - 1 if is_folder else 0)
    if fixed == len(parts):
        return []
    selector = fs.FileSelector("/".join(parts[:fixed]), allow_not_found=True, recursive=fixed < len(parts) - 1)
    return [
        info.path
        for info in filesystem.get_file_info(selector)
        if info.type == fs.FileType.File
        and len(info.path.split("/")) == len(parts)
        and info.path.split("/")[:fixed] == parts[:fixed]
        and all(name == part or fnmatchcase(name, part) for name, part in zip(info.path.split("/"), parts, strict=True))
    ]


def _num_literal(filesystem: fs.FileSystem, parts: Sequence[str], known: int) -> int:
    """How many of the first components are not globs: they have none of its signs, or exist as they are written."""
    for i, part in enumerate(parts):
        if i >= known and any(sign in part for sign in "*?["):
            path = "/".join(parts[: i + 1])
            if filesystem.get_file_info(path).type == fs.FileType.NotFound:
                return i
    return len(parts)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    """From `class_names` (a JSON list or comma-separated) or from Hugging Face's description of the features."""
    try:
        if b"class_names" in metadata:
            text = metadata[b"class_names"].decode()
            return tuple(str(name).strip() for name in (json.loads(text) if text[:1] == "[" else text.split(",")))
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
        return tuple(map(str, names)) if isinstance(names, list) else None
    except (KeyError, TypeError, ValueError):
        return None
