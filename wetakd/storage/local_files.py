"""Files on a local disk: written whole and durably, listed, and deleted without following a link."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa


def write_file(target: str, data: bytes | pa.Buffer, *, durable: bool) -> None:
    """Write a file under a temporary name, then rename it; makes the folders above it.

    durable: the content is on the disk before the file has its name, and the name is when this returns.
    """
    folder, _, name = target.rpartition("/")
    _make_folder(folder, durable)
    part = f"{folder}/.{name[:200]}.{uuid.uuid4().hex[:8]}.part"
    try:
        with open(part, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, target)
        if durable:
            _sync_folder(folder)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _make_folder(folder: str, durable: bool) -> None:
    """Make a local folder and those above it; a new folder is durable once the one that names it is."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was quicker; if it is a file, the write says so
            os.mkdir(new)
        if durable:
            _sync_folder(os.path.dirname(new))


def _sync_folder(folder: str) -> None:
    """Write a local folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync names by themselves
            raise
    finally:
        os.close(descriptor)


def walk_files(root: str) -> Iterator[str]:
    """Paths of what lies below a local folder and is no folder; links are followed, but into no folder twice."""
    seen = set()
    for folder, below, names in os.walk(root, onerror=_unless_gone, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:
            below.clear()
            continue
        seen.add(place)
        yield from (f"{folder}/{name}" for name in names)


def list_folder(folder: str) -> list[str]:
    """Paths of what lies right below a local folder; none where it is not there."""
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def delete_path(path: Path, *, first: str) -> None:
    """Delete a file, or a folder and its file `first` before all others; of a link the link, never what it leads to."""
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        return
    (path / first).unlink(missing_ok=True)
    shutil.rmtree(path, onerror=lambda _, __, error: _unless_gone(error[1]))


def _unless_gone(error: BaseException) -> None:
    """A folder may come and go while it is listed or deleted."""
    if not isinstance(error, FileNotFoundError):
        raise error
