"""Workers whose heartbeat stops are killed and their work retried; busy and waiting ones are left alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from tests.integration import hanging_tasks, tiny_studies
from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress, HeartbeatMonitor, results
from wetakd.common.errors import UserError
from wetakd.config import LimitsConfig

pytestmark = pytest.mark.usefixtures("ray_cluster")
LIMITS = LimitsConfig(silent_s=4, first_step_s=60, retries=1)


def found(starts: dict[str, Any], limits: LimitsConfig = LIMITS) -> dict[str, Any]:
    return dict(results(starts, limits, lambda name: f"task {name}"))


def test_a_stopped_task_is_retried_and_a_busy_one_is_not_disturbed(tmp_path: Path) -> None:
    marker = tmp_path / "stopped"
    # Each takes all CPUs at some time, so one of them waits for longer than a heartbeat may.
    got = found(
        {
            "stops": lambda address: address.start_task(
                {"num_cpus": 1, "max_retries": 1}, hanging_tasks.stops_once, str(marker)
            ),
            "steps": lambda address: address.start_task(
                {"num_cpus": 2, "max_retries": 0}, hanging_tasks.steps, 24, LIMITS.silent_s / 16
            ),
        }
    )
    assert got["steps"] == "done"
    stopped = int(marker.read_text())
    assert got["stops"] != stopped
    assert not psutil.pid_exists(stopped)


def test_a_task_that_always_hangs_is_logged_once_a_try_and_the_error_names_the_field(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(UserError, match=r"^task one: worker lost more than 1 times; killed at .* limits\.silent_s"),
    ):
        found({"one": lambda address: address.start_task({"max_retries": 1}, hanging_tasks.stops)})
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("task one: worker ")
        assert "no heartbeat for 4 s; raise limits.silent_s" in line


def test_a_slow_start_is_judged_by_its_own_limit() -> None:
    slow = {"one": lambda address: address.start_task({"max_retries": 0}, hanging_tasks.prepares, LIMITS.silent_s + 4)}
    assert found(slow) == {"one": "done"}
    with pytest.raises(UserError, match=r"no first step within 3 s .* raise limits\.first_step_s"):
        found(slow, LimitsConfig(silent_s=1000, first_step_s=3, retries=0))


def test_a_task_that_hangs_before_it_works_is_retried(tmp_path: Path) -> None:
    marker = str(tmp_path / "stopped")
    limits = LimitsConfig(silent_s=1000, first_step_s=8)
    starts = {
        "one": lambda address: address.start_task(
            {"max_retries": 1}, hanging_tasks.echoes, hanging_tasks.Hanging(marker)
        )
    }
    assert found(starts, limits) == {"one": marker}
    assert not psutil.pid_exists(int(Path(marker).read_text()))


def test_many_steps_send_few_messages() -> None:
    monitor = HeartbeatMonitor(LIMITS)
    try:
        heartbeat = Heartbeat(HeartbeatAddress("here", monitor.mailbox))
        for _ in range(10_000):
            heartbeat.beat()
        messages = ray.get(monitor.mailbox.drain.remote())
    finally:
        monitor.close()
    assert 1 <= len(messages) <= 3


def test_an_error_of_a_task_cancels_the_others(tmp_path: Path) -> None:
    started, done = str(tmp_path / "started"), tmp_path / "done"
    starts = {
        "fails": lambda address: address.start_task(
            {"num_cpus": 1, "max_retries": 0}, hanging_tasks.fails_after, started
        ),
        "runs": lambda address: address.start_task(
            {"num_cpus": 1, "max_retries": 3}, hanging_tasks.marks, started, str(done), 20.0
        ),
        "waits": lambda address: address.start_task(
            {"num_cpus": 2, "max_retries": 3}, hanging_tasks.marks, started, str(done), 0.0
        ),
    }
    with pytest.raises(ValueError, match="no"):
        found(starts)
    # A task that was not cancelled would only give its CPU back after it has left its mark.
    tiny_studies.wait_for_cpus(2)
    assert not done.exists()


def test_an_error_of_a_task_is_raised_and_nothing_to_do_is_done() -> None:
    with pytest.raises(ValueError, match="no"):
        found({"one": lambda address: address.start_task({"max_retries": 0}, hanging_tasks.fails)})
    assert found({}) == {}
