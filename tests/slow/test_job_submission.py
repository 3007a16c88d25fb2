"""Studies as jobs of a real head: stopped in the middle, gone on with, and through Ray's own command."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.integration import ray_heads
from tests.integration.ray_heads import DIGITS, wetakd
from wetakd.cluster import job_submission

pytestmark = pytest.mark.timeout(1200)

# Students that take their time, so that some are done and others train when a command comes to end them.
SIZE = ["study.seeds=3", "study.subsets=[3]", "study.strategies=[uniform, de]", "study.controls=[none]"]
SIZE += ["student.recipe.epochs=40"]


def overrides(storage: Path) -> list[str]:
    return [part for field in (f"storage={storage}", *SIZE) for part in ("--set", field)]


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


def ray_job(client: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Ray's own command, as anybody types it in the checkout."""
    return ray_heads.run(client, "ray.scripts.scripts", "job", *words)


# A driver with so many runs to close that it takes longer than Ray's three seconds.
SLOW_TO_END = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(6)
    pathlib.Path(sys.argv[1]).write_text("closed")
    sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[2]).touch()
time.sleep(600)
"""


@pytest.fixture(scope="module")
def client() -> Iterator[dict[str, str]]:
    with ray_heads.head() as environment:
        yield environment


def test_a_job_of_ours_that_is_stopped_has_the_time_to_close_its_runs(client: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(SLOW_TO_END)
    closed, begun = tmp_path / "closed", tmp_path / "begun"
    environment = ("--runtime-env-json", json.dumps({"env_vars": job_submission._LAST_WORDS}))
    driver = ("--", "python", str(tmp_path / "driver.py"), str(closed), str(begun))
    submitted = ray_job(client, "submit", "--no-wait", "--submission-id", "slow", *environment, *driver)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    wait_for(tmp_path, "begun")
    assert "STOPPED" in wetakd(client, "stop", "slow").stdout
    assert closed.read_text() == "closed"


def test_a_stopped_study_is_marked_as_killed_and_goes_on_when_it_is_submitted_again(
    client: dict[str, str], tmp_path: Path
) -> None:
    storage = tmp_path / "runs"
    address = ("--address", client["RAY_API_SERVER_ADDRESS"])
    submit = ("submit", *address, "--working-dir", ".")
    study = ("--", "python", "jobs/study.py", "jobs/digits.yaml")

    # The file as it is shipped: its storage would be a temporary folder of the job.
    refused = ray_job(client, *submit, *study)
    assert refused.returncode == 1  # Ray's, whatever the entry point's
    assert "wetakd: storage: './runs' is a relative path, but a submitted job runs in a" in refused.stdout
    assert "failed with exit code 2" in refused.stdout + refused.stderr

    # Ended by Ray while a network trains.
    begun = ray_job(client, *submit, "--no-wait", "--submission-id", "mine", *study, *overrides(storage))
    assert begun.returncode == 0, begun.stdout + begun.stderr
    wait_for(storage / "networks", "*/manifest.json")
    stopped = ray_job(client, "stop", *address, "mine")
    assert "was stopped" in stopped.stdout + stopped.stderr
    before = statuses(storage)
    assert before["digits"] == "KILLED"
    assert set(before.values()) <= {"FINISHED", "KILLED"}

    # It goes on, and is ended by ours while students train.
    submitted = wetakd(client, "submit", DIGITS, *overrides(storage))
    assert submitted.returncode == 0, submitted.stderr
    wait_for(storage / "students", "*/manifest.json")
    stopped = wetakd(client, "stop", submitted.stdout.strip())
    assert "STOPPED" in stopped.stdout, stopped.stdout + stopped.stderr
    before = statuses(storage)
    assert before["digits"] == "KILLED"
    assert set(before.values()) == {"FINISHED", "KILLED"}

    # To its end. What it prints is plain text, line by line.
    again = wetakd(client, "submit", DIGITS, "--follow", *overrides(storage))
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr
    assert "\nstudents  done in " in again.stdout
    assert "\x1b" not in again.stdout
    assert "\r" not in again.stdout
    num_trained = again.stdout.partition(" students trained in ")[0].rpartition(" ")[2]
    assert 0 < int(num_trained) < 9
    assert set(statuses(storage).values()) == {"FINISHED"}

    # Once more: everything is done.
    finished = ray_job(client, *submit, *study, *overrides(storage))
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr
    assert "0 networks and 0 students trained" in finished.stdout
