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

from wetakd.config import ParquetData
from wetakd.errors import UserError
from wetakd.sources._part import Part, Source
from wetakd.uri import scrub, shown

_BATCH_ROWS = 512


@dataclass(frozen=True)
class _File:
    """One Parquet file, opened anew for each pass."""

    field: str
    uri: str  # as the user wrote it, for scrubbing; may hold credentials
    filesystem: fs.FileSystem
    path: str

    @property
    def shown(self) -> str:
        return shown(self.uri) if self.uri.endswith(self.path.rpartition("/")[2]) else self.path

    def error(self, reason: Exception | str) -> UserError:
        return UserError(f"{self.field}: {self.shown!r} {scrub(str(reason), self.uri)}")

    def open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.filesystem.open_input_file(self.path))
        except (pa.ArrowException, OSError) as error:
            raise self.error(f"cannot be read as Parquet: {error}") from None

    def labels(self, column: str) -> np.ndarray:
        file = self.open()
        kind = self._field(file, "data.label_column", column).type
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
        file, row = self.open(), 0
        leaf = column if _is_bytes(self._field(file, "data.image_column", column).type) else f"{column}.bytes"
        try:
            for batch in file.iter_batches(_BATCH_ROWS, columns=[leaf]):
                values = batch.column(0)
                row += len(values)
                yield from (values if leaf == column else pc.struct_field(values, "bytes")).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise self.error(f"cannot be read after row {row}: {error}") from None

    def check_images(self, column: str) -> None:
        kind = self._field(self.open(), "data.image_column", column).type
        inner = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
        if not _is_bytes(inner):
            raise self.error(f"has {kind} in column {column!r}; bytes, or a struct with a field `bytes`, are needed")

    def _field(self, file: pq.ParquetFile, setting: str, column: str) -> pa.Field:
        names = file.schema_arrow.names
        if names.count(column) != 1:
            raise UserError(f"{setting}: {column!r} is not a column of {self.shown!r}, which has {names}")
        return file.schema_arrow.field(column)

    def class_names(self, column: str) -> tuple[str, ...] | None:
        return _class_names(self.open().schema_arrow.metadata or {}, column)


def open_parquet(data: ParquetData) -> Source:
    train = [file for path in data.train for file in _expand("data.train", path)]
    test = [file for path in data.test or () for file in _expand("data.test", path)]
    both = {file.path for file in train} & {file.path for file in test}
    if both:
        raise UserError(f"data.test: {min(both)!r} is also in data.train; the two must not share images")
    names = train[0].class_names(data.label_column)
    return Source(_parquet_part(data, train), _parquet_part(data, test) if test else None, names)


def _parquet_part(data: ParquetData, files: Sequence[_File]) -> Part:
    labels = []
    for file in files:
        file.check_images(data.image_column)
        labels.append(file.labels(data.label_column))
    starts = np.cumsum([0, *map(len, labels)])

    def where(i: int) -> str:
        file = int(np.searchsorted(starts, i, side="right")) - 1
        return f"row {i - starts[file]} of {files[file].shown!r}"

    def images() -> Iterator[bytes | None]:
        return (image for file in files for image in file.images(data.image_column))

    return Part(files[0].field, np.concatenate(labels), images, where)


def _expand(field: str, path: str) -> list[_File]:
    """The files behind a path, a folder, a glob (per component, without `**`) or a URI of one of them, sorted."""
    try:
        if "://" in path:
            filesystem, base = fs.FileSystem.from_uri(path)
        else:
            filesystem, base = fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
        if filesystem.get_file_info(base).type == fs.FileType.Directory:
            base = f"{base}/*.parquet"
        if not any(sign in base for sign in "*?["):
            names = [base] if filesystem.get_file_info(base).type == fs.FileType.File else []
        else:
            names = _glob(filesystem, base)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{field}: {shown(path)!r} cannot be opened: {scrub(str(error), path)}") from None
    if not names:
        raise UserError(f"{field}: {shown(path)!r}: no such file")
    return [_File(field, path, filesystem, name) for name in sorted(names)]


def _glob(filesystem: fs.FileSystem, pattern: str) -> list[str]:
    parts = pattern.split("/")
    fixed = next(i for i, part in enumerate(parts) if any(sign in part for sign in "*?["))
    selector = fs.FileSelector("/".join(parts[:fixed]), allow_not_found=True, recursive=fixed < len(parts) - 1)
    return [
        info.path
        for info in filesystem.get_file_info(selector)
        if info.type == fs.FileType.File
        and len(info.path.split("/")) == len(parts)
        and all(map(fnmatchcase, info.path.split("/"), parts))
    ]


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    """From `class_names` (a JSON list or comma-separated) or from Hugging Face's description of the features."""
    try:
        if b"class_names" in metadata:
            text = metadata[b"class_names"].decode()
            return tuple(map(str, json.loads(text) if text.lstrip().startswith("[") else text.split(",")))
        names = json.loads(metadata[b"huggingface"])["info"]["features"][column]["names"]
        return tuple(map(str, names)) if isinstance(names, list) else None
    except (KeyError, TypeError, ValueError):
        return None
