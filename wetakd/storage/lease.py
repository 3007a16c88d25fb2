"""The lease of a study: one driver at a time.

A small JSON file names its holder (machine, process, a random id) and carries a number that the holder raises every
few seconds. No storage here has a lock, so a newcomer judges by what it sees: a holder whose process is gone on this
very machine is dead; any other is alive if its number moves. To take a lease is to write one's own and to read back,
a moment later, who won.

The limit: two drivers that start within that moment on a slow object store may both believe to have won. Each then
reads the other's name at its next beat, and the one whose file was overwritten learns it from `Lease.check`. Commits
are safe meanwhile: they never overwrite each other's blobs.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from types import TracebackType

from wetakd.common.errors import UserError
from wetakd.storage.atomic_store import Store

SILENT_S = 60.0
_BEATS_UNTIL_SILENT = 6
_SURELY_SILENT_S = 3600.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, and the last sign of life: `time_s` is the holder's clock, `beat` its counter."""

    owner: str
    host: str
    machine: str
    pid: int
    started: str | None
    beat: int
    time_s: float
    since_s: float | None = None
    """When the lease was taken, by the clock of the storage; None until it has been read from there."""

    @property
    def is_here(self) -> bool:
        """Whether its process would be visible from ours."""
        return self.machine == _machine()

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to be gone."""
        return self.is_here and _started(self.pid) != self.started


class Lease:
    """A context manager: inside it this process is the study's driver.

    `path` lies in the study's folder, as in `studies/digits/lease.json`. Entering raises UserError where another
    driver lives. A holder on another machine that shows no sign of life is watched for up to `silent_s` seconds.
    """

    def __init__(self, store: Store, path: str, silent_s: float = SILENT_S) -> None:
        self._store, self._path, self._silent_s = store, path, silent_s
        self._beat_s = silent_s / _BEATS_UNTIL_SILENT
        self._settle_s = min(0.05 if store.is_local else 1.0, self._beat_s)
        self._owner = uuid.uuid4().hex
        self._beats = 0
        self._since_s: float | None = None
        self._rival: Holder | None = None
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="wetakd-lease", daemon=True)

    def __enter__(self) -> Lease:
        holder = self._read()
        if holder is not None and not holder.is_dead and not self._is_silent(holder):
            raise self._taken(holder)
        self._write()
        self._since_s = self._store.changed_at(self._path)
        time.sleep(self._settle_s)
        self._rival = self._other()
        self.check()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._thread.join()
        if self._rival is None and self._other() is None:
            self._store.delete(self._path)

    def check(self) -> None:
        """Raises UserError if another driver took the lease over, for this one was silent for too long."""
        if self._rival is not None:
            raise self._taken(self._rival)

    def _taken(self, holder: Holder) -> UserError:
        study = PurePosixPath(self._path).parent.name
        return UserError(
            f"study {study}: another driver (pid {holder.pid} on host {holder.host}) is running it; "
            "wait for it, end it, or give this study another name"
        )

    def _is_silent(self, holder: Holder) -> bool:
        """Watch the holder until it beats (False), or long enough to be sure that it does not (True).

        Clocks of two machines may differ, so an old time alone proves nothing; two beats missed as well do.
        """
        if holder.is_here and abs(time.time() - holder.time_s) < self._silent_s:
            return False
        begin = time.monotonic()
        while (waited_s := time.monotonic() - begin) < self._silent_s:
            if waited_s > 2.5 * self._beat_s and time.time() - holder.time_s > self._silent_s:
                return True
            time.sleep(self._beat_s / 10)
            now = self._read()
            if now is None or now.is_dead:
                return True
            if (now.owner, now.beat) != (holder.owner, holder.beat):
                return False
        return True

    def _keep(self) -> None:
        while not self._released.wait(self._beat_s):
            try:
                self._rival = self._other()
                if self._rival is not None:
                    return
                self._write()
            except OSError:
                continue  # the storage is away for now; the next beat tries again

    def _other(self) -> Holder | None:
        """Who holds the lease now, if it is not us."""
        holder = self._read()
        return holder if holder is not None and holder.owner != self._owner else None

    def _read(self) -> Holder | None:
        return _read_holder(self._store, self._path)

    def _write(self) -> None:
        self._beats += 1
        pid = os.getpid()
        host, now = socket.gethostname(), time.time()
        holder = Holder(self._owner, host, _machine(), pid, _started(pid), self._beats, now, self._since_s)
        # After a power failure nobody holds it anyway.
        self._store.write(self._path, json.dumps(asdict(holder)).encode(), durable=False)


def live_since(store: Store, path: str) -> float | None:
    """When the live driver that holds a lease took it, by the clock of the storage; None where there is none.

    Nobody waits for a sign of life here: a holder on another machine counts as live for an hour after the last one.
    """
    holder = _read_holder(store, path)
    if holder is None or holder.is_dead:
        return None
    beat_s = store.changed_at(path)
    if not holder.is_here and beat_s is not None and time.time() - beat_s > _SURELY_SILENT_S:
        return None
    since_s = beat_s if holder.since_s is None else holder.since_s
    return -math.inf if since_s is None else since_s


def _read_holder(store: Store, path: str) -> Holder | None:
    raw = store.read_file(path)
    try:
        return None if raw is None else Holder(**json.loads(raw))
    except (ValueError, TypeError):
        return None  # torn or not ours: nobody's


@cache
def _machine() -> str:
    """Tells apart hosts, boots of one host, and containers that do not see each other's processes."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if path.endswith("pid") else Path(path).read_text().strip())
        except OSError:
            parts.append("")
    return "|".join(parts)


def _started(pid: int) -> str | None:
    """When the process started, in the system's own count, which no clock change moves; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except OSError:
        pass
    return None if Path("/proc/self").exists() else _started_elsewhere(pid)


def _started_elsewhere(pid: int) -> str | None:
    import psutil  # not for Linux

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
