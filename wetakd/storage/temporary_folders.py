"""Temporary folders of a study, at a place where what a killed process left is removed by the next one.

A process id says nothing about the owner of a folder that several machines or containers share, so nothing is ever
deleted because its process seems to be gone: whoever holds the lease of a study empties the study's own folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wetakd.storage.addresses import temporary_folders_path
from wetakd.storage.atomic_store import Store

_FOLDER_PREFIX = "wetakd-"


def remove_temporary_folders(store: Store, study: str) -> None:
    """Remove the temporary folders that killed drivers of a study left. Only for the holder of the study's lease."""
    if store.is_local:
        store.delete(temporary_folders_path(study))


@contextmanager
def temporary_folder(store: Store, study: str, *, session: Path | None = None) -> Iterator[Path]:
    """A temporary folder for the length of the block.

    It is below `session` (a folder that ends with its cluster) if given, else in the folder of the study on a local
    storage, else in the system's temporary folder, where a killed process leaves it behind.
    """
    parent = session
    if parent is None and store.is_local:
        parent = store.local_path / temporary_folders_path(study)
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX, dir=parent, ignore_cleanup_errors=True) as made:
        yield Path(made)
