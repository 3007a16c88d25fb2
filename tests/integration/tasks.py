"""Tasks that hang in their own ways; workers import them from here."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from wetakd.cluster.heartbeat import Voice


def stops_once(voice: Voice, marker: str) -> int:
    """Hangs at its work, the first time."""
    voice.alive()
    if not Path(marker).exists():
        Path(marker).write_text(str(os.getpid()))
        time.sleep(0.5)  # what it said must get out
        os.kill(os.getpid(), signal.SIGSTOP)
    return os.getpid()


def speaks(voice: Voice, every_s: float) -> str:
    """Works for a while, and says so."""
    for _ in range(12):
        voice.alive()
        time.sleep(every_s)
    return "done"


def fails(voice: Voice) -> None:
    """Has a bug."""
    raise ValueError("no")


def echoes(voice: Voice, given: str) -> str:
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
