"""An image folder: one sub-folder a class, classes in the order of their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wetakd.config import FolderData
from wetakd.data.sources._part import Part, Source
from wetakd.errors import UserError


def open_folder(data: FolderData) -> Source:
    names = _class_folders("data.train", data.train)
    train = _folder_part("data.train", data.train, names)
    if data.test is None:
        return Source(train, None, names)
    unknown = sorted(set(_class_folders("data.test", data.test)) - set(names))
    if unknown:
        raise UserError(f"data.test: {data.test!r} has a class {unknown[0]!r} that {data.train!r} has not")
    return Source(train, _folder_part("data.test", data.test, names), names)


def _class_folders(field: str, root: str) -> tuple[str, ...]:
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"{field}: {root!r} is not a folder; name one that holds a sub-folder for each class")
    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."))
    if not names:
        raise UserError(f"{field}: {root!r} has no sub-folders; each class needs one")
    return names


def _folder_part(field: str, root: str, names: Sequence[str]) -> Part:
    """Images class by class in turn (the first of each, the second of each, ...), so that the first so many are a fair
    sample of all."""
    endings = Image.registered_extensions()
    found = []
    for label, name in enumerate(names):
        files = (path for path in (Path(root).expanduser() / name).rglob("*") if path.suffix.lower() in endings)
        found += [(place, label, path) for place, path in enumerate(sorted(p for p in files if p.name[0] != "."))]
    found.sort(key=lambda item: item[:2])
    paths = [path for _, _, path in found]
    labels_N = np.array([label for _, label, _ in found], dtype=np.int64)
    return Part(field, labels_N, lambda: iter(paths), lambda i: str(paths[i]))
