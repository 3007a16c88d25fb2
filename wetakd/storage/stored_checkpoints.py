"""Checkpoints of an unfinished training: numbered files, each with a digest."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Self

from wetakd.storage.atomic_store import Store

_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class StoredCheckpoints:
    """Numbered files with an embedded digest: the newest good one counts, torn ones are passed over."""

    store: Store
    folder: str
    keep: int = 2

    @classmethod
    def at(cls, store: Store, address: str) -> Self:
        """The checkpoints of what is being made at `address`."""
        return cls(store, f"{address}/checkpoints")

    def load(self) -> bytes | None:
        """The state that was saved last and is intact, or None."""
        for path in reversed(self.store.list(self.folder)):
            raw = self.store.read_file(path) or b""
            digest, state = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
            if hashlib.sha256(state).digest() == digest:
                return state
        return None

    def save(self, state: bytes) -> None:
        """Write `state` as the newest checkpoint, then remove all but the last `keep`."""
        before = self.store.list(self.folder)
        number = int(PurePosixPath(before[-1]).name.partition("-")[0]) + 1 if before else 0
        path = f"{self.folder}/{number:08d}-{uuid.uuid4().hex[:8]}.ckpt"
        self.store.write(path, hashlib.sha256(state).digest() + state)
        for old in [*before, path][: -self.keep]:
            self.store.delete(old)

    def clear(self) -> None:
        """Remove them all: the result is committed."""
        self.store.delete(self.folder)
