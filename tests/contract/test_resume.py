"""A driver that is killed: the next one continues from what is stored."""

from __future__ import annotations

import signal
from dataclasses import replace

from tests.contract.commands import EXPERIMENT, Wetakd, wait_until
from tests.contract.conftest import Finished
from tests.contract.services import MlflowServer, contents


def test_study_resumes_after_kills(finished: Finished, another: Wetakd, mlflow_server: MlflowServer) -> None:
    """Killed while networks are trained, and again while students are trained."""
    wetakd = replace(another, name="killed")
    times: dict[str, int] = {}
    for kind in ("networks", "students"):
        _kill_after_first(kind, wetakd)
        stored = wetakd.layout.commit_times()
        assert {key: stored[key] for key in times} == times
        times = stored
    assert not wetakd.layout.summary("killed").exists()

    resumed = wetakd.run("--quiet")
    assert resumed.returncode == 0, resumed.stderr
    stored = wetakd.layout.commit_times()
    assert {key: stored[key] for key in times} == times
    assert wetakd.results().equals(finished.wetakd.results())

    runs = mlflow_server.runs(EXPERIMENT, "killed")
    assert contents(runs) == contents(mlflow_server.runs(EXPERIMENT, "contract"))
    for run in runs:
        metrics = [name for name in run.metrics if name.endswith("choose_accuracy") and run.kind != "study"]
        for name in metrics:
            steps = mlflow_server.steps(run, name)
            assert len(steps) == len(set(steps)), f"{run.name}: {name} was sent twice"


def _kill_after_first(kind: str, wetakd: Wetakd) -> None:
    driver = wetakd.start("--quiet")
    try:
        wait_until(lambda: wetakd.layout.committed(kind), driver, f"the first of {kind} was stored")
    finally:
        driver.kill()
    assert driver.wait() == -signal.SIGKILL
