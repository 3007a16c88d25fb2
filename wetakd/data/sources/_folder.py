"""An image folder: one sub-folder a class, classes in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wetakd.common.errors import UserError
from wetakd.config import FolderData
from wetakd.data.sources._labelled_images import ImageSource, LabelledImages

_NUM_NAMED = 5
"""Links to folders that a message names."""


def open_folder(data: FolderData) -> ImageSource:
    names = _class_folders("data.train", data.train)
    train = _folder_part("data.train", data.train, names)
    if data.test is None:
        return ImageSource(train, None, names)
    unknown = sorted(set(_class_folders("data.test", data.test)) - set(names))
    if unknown:
        raise UserError(f"data.test: {data.test!r} has a class {unknown[0]!r} that {data.train!r} has not")
    return ImageSource(train, _folder_part("data.test", data.test, names), names)


def _class_folders(field: str, root: str) -> tuple[str, ...]:
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise UserError(f"{field}: {root!r} is not a folder; name one that holds a sub-folder for each class")
    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."))
    if not names:
        raise UserError(f"{field}: {root!r} has no sub-folders; each class needs one")
    return names


def _folder_part(field: str, root: str, names: Sequence[str]) -> LabelledImages:
    """Images class by class in turn (the first of each, the second of each, ...), so that the first so many are a fair
    sample of all."""
    found: list[tuple[int, int, Path]] = []
    linked_folders: list[Path] = []
    for label, name in enumerate(names):
        files, links = _images_below(Path(root).expanduser() / name)
        found += [(place, label, path) for place, path in enumerate(files)]
        linked_folders += links
    found.sort(key=lambda item: item[:2])
    paths = [path for _, _, path in found]
    labels_N = np.array([label for _, label, _ in found], dtype=np.int64)
    notes = tuple(_notes(field, paths, linked_folders))
    return LabelledImages(field, labels_N, lambda: iter(paths), lambda i: str(paths[i]), notes)


def _images_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """The image files in `folder` and below, sorted, and the links to folders there, which are not followed."""
    endings = Image.registered_extensions()
    files: list[Path] = []
    links: list[Path] = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        files += [here / name for name in names if name[0] != "." and Path(name).suffix.lower() in endings]
        links += [here / name for name in folders if (here / name).is_symlink()]
    return sorted(files), sorted(links)


def _notes(field: str, files: Sequence[Path], linked_folders: Sequence[Path]) -> Iterator[str]:
    num_links = sum(path.is_symlink() for path in files)
    if num_links:
        yield f"{field}: {num_links:,} of {len(files):,} image files are symbolic links; they are read"
    if linked_folders:
        named = ", ".join(map(str, linked_folders[:_NUM_NAMED]))
        more = len(linked_folders) - _NUM_NAMED
        yield (
            f"{field}: symbolic links to folders are not followed: {named}{f' and {more:,} more' if more > 0 else ''}; "
            "copy or move the images into the class folder"
        )
