"""Recorded failures: why a network, a search or a student has no result, so that it is not tried again.

A record is a commit of its own at `failures/<kind>/<key>`; a result at `<kind>/<key>` always comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from wetakd.storage.addresses import failure_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.manifest import Manifest


@dataclass(frozen=True)
class Failure:
    """Why there is no result, in one line, and records of the epochs that were done before."""

    reason: str
    epochs: Sequence[Mapping[str, Any]] = ()

    def to_dict(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return {"reason": self.reason, "epochs": list(self.epochs)}

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Self:
        """The reverse of `to_dict`."""
        return cls(**manifest.facts)


def record_failure(store: Store, address: str, failure: Failure) -> None:
    """Record that there will be no result at `address`."""
    store.commit(failure_address(address), {}, failure.to_dict())


def find_failure(store: Store, address: str) -> Failure | None:
    """The recorded failure of what belongs at `address`; None where there is none, or it is damaged."""
    manifest = store.find(failure_address(address))
    return None if manifest is None else Failure.from_manifest(manifest)


def forget_failures_at(store: Store, addresses: Iterable[str]) -> None:
    """Remove the records of `addresses`, so that the next run tries again."""
    for address in addresses:
        store.delete(failure_address(address))
