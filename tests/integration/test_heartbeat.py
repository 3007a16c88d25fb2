"""Tasks that fall silent are ended and tried again; those that speak, and those that only wait, are left alone."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from wetakd.heartbeat import Voice, results

pytestmark = pytest.mark.usefixtures("ray_cluster")
SILENT_S = 3.0


@ray.remote(num_cpus=1, max_retries=1)
def stops_once(marker: str, voice: Voice) -> int:
    voice.alive()
    if not Path(marker).exists():
        Path(marker).write_text(str(os.getpid()))
        time.sleep(0.5)  # its first word must get out
        os.kill(os.getpid(), signal.SIGSTOP)
    return os.getpid()


@ray.remote(num_cpus=2, max_retries=0)
def speaks(voice: Voice) -> str:
    for _ in range(12):
        voice.alive()
        time.sleep(SILENT_S / 8)
    return "done"


def test_a_stopped_task_is_tried_again_and_a_busy_one_is_not_disturbed(tmp_path: Path) -> None:
    marker = tmp_path / "stopped"
    # Each takes all CPUs at some time, so one of them waits for longer than it may be silent.
    starts: dict[str, Any] = {"stops": partial(stops_once.remote, str(marker)), "speaks": speaks.remote}
    found = dict(results(starts, SILENT_S))
    assert found["speaks"] == "done"
    stopped = int(marker.read_text())
    assert found["stops"] != stopped
    assert not psutil.pid_exists(stopped)


def test_an_error_of_a_task_is_raised_and_nothing_to_do_is_done() -> None:
    @ray.remote(max_retries=0)
    def fails(voice: Voice) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(results({"one": fails.remote}, SILENT_S))
    assert list(results({}, SILENT_S)) == []
