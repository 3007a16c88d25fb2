"""Tasks that hang in their own ways; workers import them from here."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from wetakd.cluster.heartbeat import Heartbeat


def stops_once(heartbeat: Heartbeat, marker: str) -> int:
    """Hangs after its first step, the first time."""
    heartbeat.beat()
    if not Path(marker).exists():
        Path(marker).write_text(str(os.getpid()))
        time.sleep(0.5)  # the message must get out
        os.kill(os.getpid(), signal.SIGSTOP)
    return os.getpid()


def stops(heartbeat: Heartbeat) -> None:
    """Hangs after its first step, always."""
    heartbeat.beat()
    time.sleep(0.5)  # the message must get out
    os.kill(os.getpid(), signal.SIGSTOP)


def steps(heartbeat: Heartbeat, num: int, step_s: float) -> str:
    """Takes `num` steps."""
    for _ in range(num):
        time.sleep(step_s)
        heartbeat.beat()
    return "done"


def prepares(heartbeat: Heartbeat, first_step_s: float) -> str:
    """Needs a while for its first step, as where it imports and compiles."""
    time.sleep(first_step_s)
    heartbeat.beat()
    return "done"


def fails(heartbeat: Heartbeat) -> None:
    """Has a bug."""
    raise ValueError("no")


def fails_after(heartbeat: Heartbeat, started: str) -> None:
    """Has a bug, which shows when the other task is at work."""
    while not Path(started).exists():
        time.sleep(0.1)
    raise ValueError("no")


def marks(heartbeat: Heartbeat, started: str, done: str, after_s: float) -> None:
    """Leaves a file when it starts, and one when it is done."""
    Path(started).touch()
    time.sleep(after_s)
    Path(done).touch()


def echoes(heartbeat: Heartbeat, given: str) -> str:
    """Gives back what it got."""
    return given


class Hanging:
    """Stops the process that unpickles it, the first time, as a module may that is imported there; else a text."""

    def __init__(self, marker: str) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return _arrive, (self._marker,)


def _arrive(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
    return marker
