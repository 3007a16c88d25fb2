"""Results on storage that no study refers to (`wetakd gc`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from wetakd.plan.study_references import references_of
from wetakd.storage.addresses import (
    RESULT_FOLDERS,
    STUDIES,
    WORKER_GROUPS,
    failure_address,
    lease_path,
    study_of,
    temporary_folders_path,
)
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import live_since

# What a running attempt has just written is not an orphan.
_STRAY_AGE_S = 3600.0


_TRAIN_AGE_S = 24 * 3600.0


@dataclass(frozen=True)
class Orphan:
    """Something that no study refers to."""

    path: str
    size: int
    why: str


def find_orphans(store: Store) -> Iterator[Orphan]:
    """What no study refers to: whole addresses, and files that dead attempts left in living ones.

    Nothing that is newer than the start of a study that runs: it may need it and not have recorded that yet.
    """
    now = time.time()
    running = list(_running_since(store))
    since = min([now, *running])

    def may_go(address: str) -> bool:
        changed = store.changed_at(address)
        return changed < since if changed is not None else not running

    stray_age_s, train_age_s = max(_STRAY_AGE_S, now - since), max(_TRAIN_AGE_S, now - since)
    kept = {address for study in _studies(store) for address in references_of(store, study)}
    for kind in RESULT_FOLDERS:
        for address in store.addresses(kind):
            if address not in kept and may_go(address):
                yield Orphan(address, store.size(address), "no study refers to it")
            elif address in kept and store.find(address) is not None:
                for path in store.unnamed_files(address, older_than_s=stray_age_s):
                    yield Orphan(path, store.size(path), "left by an attempt that died")
        for record in store.addresses(failure_address(kind)):
            if record.removeprefix(failure_address("")) not in kept and may_go(record):
                yield Orphan(record, store.size(record), "the failure of what no study refers to")
    for path in _abandoned_temporary_folders(store):
        yield Orphan(path, store.size(path), "temporary files of a driver that was killed")
    for path in store.unnamed_files(STUDIES, older_than_s=stray_age_s):
        if path.endswith(".part"):
            yield Orphan(path, store.size(path), "a write that was never finished")
    for path in store.unnamed_files(WORKER_GROUPS, older_than_s=train_age_s):
        yield Orphan(path, store.size(path), "left by a worker group whose driver died")


def _running_since(store: Store) -> Iterator[float]:
    """When each study that runs was started."""
    for study in _studies(store):
        if (since := live_since(store, lease_path(study))) is not None:
            yield since


def _abandoned_temporary_folders(store: Store) -> Iterator[str]:
    """Temporary folders of studies that nobody runs."""
    for study in _studies(store):
        # Listed before the lease is read: a driver that takes it afterwards makes other folders.
        left = store.addresses(temporary_folders_path(study))
        if left and live_since(store, lease_path(study)) is None:
            yield from left


def _studies(store: Store) -> list[str]:
    return [study_of(folder) for folder in store.addresses(STUDIES)]
