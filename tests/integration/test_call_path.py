"""From `Study.run` to the optimizer step: at most five files and nine calls, as ARCHITECTURE.md lists them."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from ray.exceptions import RayTaskError
from ray.train import TrainingFailedError
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

import wetakd
from tests.integration.small_study import study
from tests.integration.tiny_studies import NET, is_worker
from wetakd import Study
from wetakd.stages import networks
from wetakd.stages.student_collector import StudentCollector

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(900)]

MAX_FILES, MAX_CALLS = 5, 9
PACKAGE = str(Path(wetakd.__file__).parent)
Call = tuple[str, str]
"""A file of the package, and a function in it."""
_hooks: list[Any] = []
"""One for each network of this process that was built to fail: a job builds one to measure its cost, and another."""


def failing_in_its_step(num_classes: int, in_channels: int, calls_file: str) -> nn.Module:
    """A network whose optimizer step fails in a worker of Ray, and writes down by which functions it was reached."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes))

    def fail(*_: Any) -> None:
        while _hooks:  # they are hooks of all optimizers of the process
            _hooks.pop().remove()
        stack = traceback.extract_stack()
        Path(calls_file).write_text(json.dumps([[frame.filename, frame.name] for frame in stack]))
        raise RuntimeError("the optimizer step failed")

    if is_worker():
        _hooks.append(register_optimizer_step_pre_hook(fail))
    return network


def failing(calls_file: Path) -> dict[str, Any]:
    """The block of such a network."""
    return {
        **NET,
        "model": {
            "name": "tests.integration.test_call_path:failing_in_its_step",
            "options": {"calls_file": str(calls_file)},
        },
    }


def own_calls(frames: list[tuple[str, str]]) -> list[Call]:
    """Calls of functions of the package, without those of Ray, torch and Python."""
    return [(str(Path(file).relative_to(PACKAGE)), name) for file, name in frames if file.startswith(PACKAGE)]


def driver_calls(frames: list[tuple[str, str]]) -> list[Call]:
    """Those from `Study.run` until Ray is called."""
    first = frames.index((f"{PACKAGE}/study.py", "run"))
    until_ray = (place for place, (file, _) in enumerate(frames) if place > first and "/ray/" in file)
    return own_calls(frames[first : next(until_ray, len(frames))])


def worker_calls(calls_file: Path) -> list[Call]:
    """Those in the worker, until the step of the optimizer."""
    frames = [tuple(frame) for frame in json.loads(calls_file.read_text())]
    return own_calls(frames)


def frames_of(error: BaseException | None) -> list[tuple[str, str]]:
    assert error is not None
    trace: TracebackType | None = error.__traceback__
    return [(frame.filename, frame.name) for frame in traceback.extract_tb(trace)]


def check(driver: list[Call], worker: list[Call]) -> None:
    """The boundary of Ray is one call, together with the function that sends the heartbeat of a task."""
    files = {file for file, _ in driver + worker}
    assert len(files) <= MAX_FILES, files
    # Each function but the first is called by the one before it, and the last calls the optimizer.
    calls = driver + [call for call in worker if call != ("cluster/heartbeat.py", "_run_task")]
    assert len(calls) <= MAX_CALLS, calls
    assert worker[-1] == ("training/trainer.py", "_train_step")


def test_a_network_that_is_trained_in_a_task(tmp_path: Path) -> None:
    config = study(tmp_path, teacher=failing(tmp_path / "calls.json"))
    with pytest.raises(RayTaskError, match="the optimizer step failed") as caught:
        Study(config).run()
    driver, worker = driver_calls(frames_of(caught.value)), worker_calls(tmp_path / "calls.json")
    check(driver, worker)
    assert driver[-1] == ("stages/networks.py", "finish")
    assert [name for _, name in worker[1:3]] == ["train_in_task", "train_loop"]


def test_a_network_that_is_trained_by_a_worker_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = study(tmp_path, teacher=failing(tmp_path / "calls.json") | {"workers": 1}, limits={"retries": 0})
    # The error as it is, rather than an error row of the network.
    monkeypatch.setattr(networks._NetworkRunner, "_failure", lambda *_: None)
    with pytest.raises(TrainingFailedError) as caught:
        Study(config).run()
    driver, worker = driver_calls(frames_of(caught.value)), worker_calls(tmp_path / "calls.json")
    check(driver, worker)
    assert driver[-1] == ("stages/worker_groups.py", "train_in_group")
    assert worker[0] == ("stages/training_run.py", "train_loop")


def test_a_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = study(tmp_path, student=failing(tmp_path / "calls.json"), limits={"retries": 0})
    stacks: list[list[tuple[str, str]]] = []

    def on_trial_error(*_: Any, **__: Any) -> None:
        stacks.append([(frame.filename, frame.name) for frame in traceback.extract_stack()])

    monkeypatch.setattr(StudentCollector, "on_trial_error", on_trial_error)
    result = Study(config).run()
    assert result.num_students_failed
    driver, worker = driver_calls(stacks[0]), worker_calls(tmp_path / "calls.json")
    check(driver, worker)
    assert driver[-1] == ("stages/students.py", "_tune")
    assert worker[0] == ("stages/student_trial.py", "step")
