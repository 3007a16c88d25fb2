"""Studies as jobs of a real head: stopped in the middle, gone on with, and through Ray's own command."""

import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.integration import heads
from tests.integration.heads import DIGITS, wetakd

pytestmark = pytest.mark.timeout(600)

SMALL = ["study.seeds=1", "study.subsets=[3]", "study.strategies=[uniform, de]", "study.controls=[none]"]


def overrides(storage: Path) -> list[str]:
    return [part for field in (f"storage={storage}", *SMALL) for part in ("--set", field)]


def wait_for(path: Path, pattern: str) -> None:
    deadline = time.monotonic() + 180
    while not list(path.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in {path}"
        time.sleep(0.1)


def statuses(storage: Path) -> dict[str, str]:
    """Of all MLflow runs, by name."""
    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'wetakd'")
    return {run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])}


def test_a_stopped_study_is_marked_as_killed_and_goes_on_when_it_is_submitted_again(tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    with heads.head() as client:
        submitted = wetakd(client, "submit", DIGITS, *overrides(storage))
        assert submitted.returncode == 0, submitted.stderr
        wait_for(storage / "networks", "*/manifest.json")
        stopped = wetakd(client, "stop", submitted.stdout.strip())
        assert "STOPPED" in stopped.stdout, stopped.stdout + stopped.stderr
        before = statuses(storage)
        assert before["digits"] == "KILLED"
        assert set(before.values()) <= {"FINISHED", "KILLED"}

        # The same again goes on. What it prints is plain text, line by line.
        again = wetakd(client, "submit", DIGITS, "--follow", *overrides(storage))
        assert again.returncode == 0, again.stdout[-3000:] + again.stderr
        assert "\nnetworks  done in " in again.stdout
        assert "\x1b" not in again.stdout
        assert "\r" not in again.stdout
        num_trained = again.stdout.partition(" networks and ")[0].rpartition("\n")[2]
        assert 0 < int(num_trained) < 4
        assert set(statuses(storage).values()) == {"FINISHED"}

        # Ray's own command with the shipped script finds everything done.
        finished = heads.run(
            client,
            *("ray.scripts.scripts", "job", "submit", "--working-dir", str(heads.ROOT / "jobs"), "--"),
            *("python", "study.py", "digits.yaml", *overrides(storage)),
        )
        assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr
        assert "0 networks and 0 students trained" in finished.stdout
