"""The journal: what happened in a study, in order, on storage, before anybody else is told.

Object stores cannot append, so events lie in segments. The last segment is written again, longer and under a new
name, until it is full; the shorter one goes afterwards. Two segments may therefore hold the same event for a moment:
its number tells. Each line carries a checksum, and a torn line is passed over and stands in `lost`. The id stands
in the acknowledgements, too: who loses it would begin every run anew.

    studies/NAME/journal/id                                      tells this study from all others of its name
    studies/NAME/journal/segments/<first event>-<random>.log     one event a line
    studies/NAME/journal/blobs/<sha256>                          what is too large for a line
    studies/NAME/journal/sent-<destination>.json                 how far a destination got
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import threading
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.storage.addresses import journal_folder, study_path
from wetakd.storage.atomic_store import DamagedBlob, Store

FLUSH_S = 1.0
_SEGMENT_BYTES = 256 * 1024
_ID = "id.json"


@dataclass(frozen=True)
class Event:
    """One thing that happened: its number (from 1), wall clock in ms, what it was, to which run, and the rest."""

    seq: int
    ms: int
    kind: str
    uid: str
    data: Mapping[str, Any]

    def to_line(self) -> bytes:
        """One line with a checksum."""
        text = json.dumps(asdict(self), separators=(",", ":")).encode()
        return b"%08x %s\n" % (zlib.crc32(text), text)

    @classmethod
    def from_line(cls, line: bytes) -> Event | None:
        """The event of a line, or None where the line is torn."""
        checksum, _, text = line.partition(b" ")
        if not text or checksum != b"%08x" % zlib.crc32(text):
            return None
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None


def study_id(store: Store, study: str) -> str | None:
    """The id that the study's first driver made up; None where none has, or all that says so is damaged."""
    folder = journal_folder(study)
    for path in itertools.chain([study_path(study, _ID)], _acknowledgements(store, folder)):
        if known := _content(store, path).get("study_id"):
            return str(known)
    return None


def _acknowledgements(store: Store, folder: str) -> Iterator[str]:
    """Paths; the folder is listed when the first is asked for."""
    yield from (path for path in store.list(folder) if PurePosixPath(path).name.startswith("sent-"))


def _content(store: Store, path: str) -> dict[str, Any]:
    """A file with its own digest; empty where it is missing or damaged."""
    try:
        return load_with_digest(store.read_file(path) or b"")
    except ValueError:
        return {}


def ensure_study_id(store: Store, study: str) -> str:
    """The id of a study, in `studies/NAME/id.json`; a study that has none gets one."""
    known = study_id(store, study) or uuid.uuid4().hex
    if not _content(store, study_path(study, _ID)):
        store.write(study_path(study, _ID), dump_with_digest({"study_id": known}))
    return known


class EventJournal:
    """Appends return at once; a thread writes what is new every `flush_s` seconds. One process writes at a time."""

    def __init__(self, store: Store, study: str, flush_s: float = FLUSH_S) -> None:
        self._store, self._flush_s = store, flush_s
        self._folder = journal_folder(study)
        self.study_id = ensure_study_id(store, study)
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._pending: list[bytes] = []
        self._tail, self._tail_path, self._tail_first = b"", "", 0
        known = [event.seq for event in self.read()]
        # A torn segment must not make us use a number twice that some destination has seen.
        self.durable = max(known + [self._sent(path) for path in _acknowledgements(store, self._folder)], default=0)
        self.lost = frozenset(range(1, self.durable + 1)).difference(known)
        """Numbers of the events that were lost before this driver began."""
        self._last = self.durable
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_flushing, name="wetakd-journal", daemon=True)
        self._thread.start()

    @property
    def last(self) -> int:
        """Number of the newest event, durable or not."""
        return self._last

    def append(self, kind: str, uid: str, data: Mapping[str, Any]) -> Event:
        """Note an event now; it is durable after the next flush."""
        with self._lock:
            event = Event(self._last + 1, time.time_ns() // 1_000_000, kind, uid, data)
            self._pending.append(event.to_line())
            self._last = event.seq
        return event

    def flush(self) -> None:
        """Make all events durable; raises OSError where the storage fails, and loses nothing then."""
        with self._writing:
            with self._lock:
                lines, last = self._pending, self._last
                self._pending = []
            if not lines:
                return
            try:
                self._extend_tail(b"".join(lines), first=last - len(lines) + 1)
            except BaseException:
                with self._lock:
                    self._pending[:0] = lines
                raise
            self.durable = last

    def _extend_tail(self, lines: bytes, first: int) -> None:
        begin = self._tail_first if self._tail else first
        path = f"{self._folder}/segments/{begin:012d}-{uuid.uuid4().hex[:8]}.log"
        tail, shorter = self._tail + lines, self._tail_path
        self._store.write(path, tail)
        full = len(tail) >= _SEGMENT_BYTES
        self._tail, self._tail_path, self._tail_first = (b"", "", 0) if full else (tail, path, begin)
        if shorter:
            with contextlib.suppress(OSError):  # a leftover does no harm: its events are known by their numbers
                self._store.delete(shorter)

    def read(self, after: int = 0) -> Iterator[Event]:
        """Durable events with a number above `after`, in order, each once."""
        for path in self._segments(after):
            raw = self._store.read_file(path)
            if raw is None:  # replaced by a longer one since we looked
                yield from self.read(after)
                return
            for line in raw.split(b"\n"):
                event = Event.from_line(line)
                if event is not None and event.seq > after:
                    after = event.seq
                    yield event

    def _segments(self, after: int) -> list[str]:
        """Paths of the segments that can hold an event above `after`, in order."""
        with self._writing:  # a folder that changes while it is listed may show neither the old tail nor the new
            paths = self._store.list(f"{self._folder}/segments")
        first_of = {path: _first_number(path) for path in paths}
        begun = [first for first in first_of.values() if first <= after + 1]
        return [path for path, first in first_of.items() if not begun or first >= max(begun)]

    # ------------------------------------------------------------------------------------- blobs, acknowledgements

    def put_blob(self, data: bytes) -> str:
        """Store `data` durably now; its name is its sha256 in hex."""
        name = hashlib.sha256(data).hexdigest()
        self._store.write(f"{self._folder}/blobs/{name}", data)
        return name

    def blob(self, name: str) -> bytes:
        """The content of a blob; raises DamagedBlob where it is missing or not what was stored."""
        data = self._store.read_file(f"{self._folder}/blobs/{name}")
        if data is None or hashlib.sha256(data).hexdigest() != name:
            raise DamagedBlob(f"journal: blob {name[:12]} is missing or damaged")
        return data

    def acknowledge(self, destination: str, seq: int) -> None:
        """Note that `destination` has all events up to `seq`."""
        self._store.write(
            f"{self._folder}/sent-{destination}.json", dump_with_digest({"seq": seq, "study_id": self.study_id})
        )

    def acknowledged(self, destination: str) -> int:
        """Number of the last event that `destination` has; 0 where nothing (readable) says so."""
        return self._sent(f"{self._folder}/sent-{destination}.json")

    def _sent(self, path: str) -> int:
        return int(_content(self._store, path).get("seq", 0))

    # ------------------------------------------------------------------------------------------------ the thread

    def close(self) -> None:
        """Flush for the last time and end the thread."""
        self._closed.set()
        self._thread.join()
        self.flush()

    def _keep_flushing(self) -> None:
        while not self._closed.wait(self._flush_s):
            with contextlib.suppress(OSError):  # the storage is away for now; the next round tries again
                self.flush()


def _first_number(path: str) -> int:
    """Number of the first event of a segment, from its name; 0 where the name is not ours."""
    number = PurePosixPath(path).name.partition("-")[0]
    return int(number) if number.isdecimal() else 0
