"""Tasks that fall silent are ended and tried again; those that speak, and those that only wait, are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration import tasks
from wetakd.cluster import heartbeat
from wetakd.cluster.heartbeat import results

pytestmark = pytest.mark.usefixtures("ray_cluster")
SILENT_S = 3.0


def test_a_stopped_task_is_tried_again_and_a_busy_one_is_not_disturbed(tmp_path: Path) -> None:
    marker = tmp_path / "stopped"
    # Each takes all CPUs at some time, so one of them waits for longer than it may be silent.
    starts: dict[str, Any] = {
        "stops": lambda voice: voice.begin({"num_cpus": 1, "max_retries": 1}, tasks.stops_once, str(marker)),
        "speaks": lambda voice: voice.begin({"num_cpus": 2, "max_retries": 0}, tasks.speaks, SILENT_S / 8),
    }
    found = dict(results(starts, SILENT_S))
    assert found["speaks"] == "done"
    stopped = int(marker.read_text())
    assert found["stops"] != stopped
    assert not psutil.pid_exists(stopped)


def test_a_task_that_hangs_before_it_works_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "IMPORT_S", 10.0)
    marker = str(tmp_path / "stopped")
    starts = {"one": lambda voice: voice.begin({"max_retries": 1}, tasks.echoes, tasks.Hanging(marker))}
    assert list(results(starts, SILENT_S)) == [("one", marker)]
    assert not psutil.pid_exists(int(Path(marker).read_text()))


def test_an_error_of_a_task_is_raised_and_nothing_to_do_is_done() -> None:
    with pytest.raises(ValueError, match="no"):
        list(results({"one": lambda voice: voice.begin({"max_retries": 0}, tasks.fails)}, SILENT_S))
    assert list(results({}, SILENT_S)) == []
