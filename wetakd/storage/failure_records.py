"""Recorded failures: why a network, a search or a student has no result, so that it is not tried again.

A record is a commit of its own at `failures/<kind>/<key>`; a result at `<kind>/<key>` always comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wetakd.storage.addresses import failure_address
from wetakd.storage.atomic_store import Store


@dataclass(frozen=True)
class Failure:
    """Why there is no result, in one line, and records of the epochs that were done before."""

    reason: str
    epochs: Sequence[Mapping[str, Any]] = ()


def record_failure(store: Store, address: str, failure: Failure) -> None:
    """Record that there will be no result at `address`."""
    store.commit(failure_address(address), {}, {"reason": failure.reason, "epochs": list(failure.epochs)})


def find_failure(store: Store, address: str) -> Failure | None:
    """The recorded failure of what belongs at `address`; None where there is none, or it is damaged."""
    manifest = store.find(failure_address(address))
    return None if manifest is None else Failure(manifest.facts["reason"], manifest.facts["epochs"])


def forget_failures_at(store: Store, addresses: Iterable[str]) -> None:
    """Remove the records of `addresses`, so that the next run tries again."""
    for address in addresses:
        store.delete(failure_address(address))
