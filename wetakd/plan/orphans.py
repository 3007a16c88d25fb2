"""Results on storage that no study refers to (`wetakd gc`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from wetakd.plan.study_references import (
    RESULT_KINDS,
    references_of,
)
from wetakd.storage import failure_records
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import live_since
from wetakd.storage.temporary_folders import temporary_folders_address

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
    kept = {address for folder in store.addresses("studies") for address in references_of(store, folder)}
    for kind in RESULT_KINDS:
        for address in store.addresses(kind):
            if address not in kept and may_go(address):
                yield Orphan(address, store.size(address), "no study refers to it")
            elif address in kept and store.find(address) is not None:
                for path in store.strays(address, older_than_s=stray_age_s):
                    yield Orphan(path, store.size(path), "left by an attempt that died")
        for record in store.addresses(failure_records.record_address(kind)):
            if record.removeprefix(failure_records.record_address("")) not in kept and may_go(record):
                yield Orphan(record, store.size(record), "the failure of what no study refers to")
    for path in _abandoned_temporary_folders(store):
        yield Orphan(path, store.size(path), "temporary files of a driver that was killed")
    for path in store.strays("studies", older_than_s=stray_age_s):
        if path.endswith(".part"):
            yield Orphan(path, store.size(path), "a write that was never finished")
    for path in store.strays("train", older_than_s=train_age_s):
        yield Orphan(path, store.size(path), "left by a worker group whose driver died")


def _running_since(store: Store) -> Iterator[float]:
    """When each study that runs was started."""
    for folder in store.addresses("studies"):
        if (since := live_since(store, f"{folder}/lease.json")) is not None:
            yield since


def _abandoned_temporary_folders(store: Store) -> Iterator[str]:
    """Temporary folders of studies that nobody runs."""
    for study in store.addresses("studies"):
        # Listed before the lease is read: a driver that takes it afterwards makes other folders.
        left = store.addresses(temporary_folders_address(study.removeprefix("studies/")))
        if left and live_since(store, f"{study}/lease.json") is None:
            yield from left
