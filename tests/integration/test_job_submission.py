"""Studies as jobs of a real head that demands a token: success, failure, a stop in the middle and going on."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(400)

# One assistant of digits and one student beside the control: seconds of work, most of them for the networks.
SMALL = ["study.seeds=1", "study.subsets=[3]", "study.strategies=[uniform]", "study.controls=[none]"]
SMALL += ["study.primary={strategy: uniform, against: random}"]


def wetakd(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wetakd", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """The environment of a client of a head with two CPUs that demands a token."""
    folder = tempfile.mkdtemp(prefix="wkj-", dir="/tmp")  # short, for Ray's sockets
    ports = [free_port() for _ in range(4)]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WETAKD_", "MLFLOW_"))}
    ours |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    ours["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), ours["PATH"]])
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--num-cpus=2", "--disable-usage-stats"),
        *(f"--port={ports[0]}", f"--dashboard-port={ports[1]}", f"--ray-client-server-port={ports[2]}"),
        *(f"--dashboard-agent-listen-port={ports[3]}", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"),
        *(f"--temp-dir={folder}/ray", "--min-worker-port=0", "--max-worker-port=0"),
        f"--object-store-memory={200 * 2**20}",
    ]
    try:
        done = subprocess.run(command, cwd=folder, env=ours, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        yield ours | {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{ports[1]}"}
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if any(f"{folder}/ray/" in word for word in process.info["cmdline"] or ()):
                process.send_signal(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def overrides(*fields: str) -> list[str]:
    return [part for field in fields for part in ("--set", field)]


def state_of(head: dict[str, str], job: str) -> dict[str, object]:
    (state,) = json.loads(wetakd(head, "status", job, "--json").stdout)
    found: dict[str, object] = state
    return found


def wait_for(path: Path, pattern: str) -> None:
    deadline = time.monotonic() + 120
    while not list(path.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in {path}"
        time.sleep(0.1)


def runs(storage: Path) -> dict[str, str]:
    """Statuses of all MLflow runs by name."""
    client = MlflowClient(f"sqlite:///{storage}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'wetakd'")
    return {run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])}


def test_a_study_as_a_job_is_refused_fails_stops_goes_on_and_succeeds(head: dict[str, str], tmp_path: Path) -> None:
    digits = str(ROOT / "jobs" / "digits.yaml")

    # Without the token: one line.
    stranger = {name: value for name, value in head.items() if name != "RAY_AUTH_TOKEN"} | {"RAY_AUTH_MODE": "disabled"}
    refused = wetakd(stranger, "status")
    assert refused.returncode == 2
    assert "wants another token" in refused.stderr
    assert refused.stderr.count("\n") == 1

    # A study stopped in the middle of its networks.
    storage = tmp_path / "runs"
    settings = overrides(f"storage={storage}", *SMALL)
    submitted = wetakd(head, "submit", digits, *settings)
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    wait_for(storage / "networks", "*/manifest.json")
    stopped = wetakd(head, "stop", job)
    assert "STOPPED" in stopped.stdout, stopped.stdout + stopped.stderr
    statuses = runs(storage)
    assert statuses["digits"] == "KILLED"
    assert set(statuses.values()) == {"FINISHED", "KILLED"}

    # The same again goes on; its output is plain text, line by line.
    again = wetakd(head, "submit", digits, "--follow", *settings)
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr
    assert "\nnetworks  done in " in again.stdout
    assert "\x1b" not in again.stdout
    assert "\r" not in again.stdout
    told = again.stdout.partition(" networks and ")[0].rpartition("\n")[2]
    assert 0 < int(told) < 4
    assert set(runs(storage).values()) == {"FINISHED"}

    # The user's mistake: its own exit code and its own line.
    wrong = wetakd(head, "submit", digits, "--follow", "--set", "storage=runs")
    assert wrong.returncode == 2
    assert "wetakd: storage: 'runs' is a relative path, but a submitted job runs in a temporary folder" in wrong.stdout
    failed = state_of(head, wrong.stdout.partition("\n")[0])
    assert (failed["status"], failed["exit_code"], failed["study"]) == ("FAILED", 2, "digits")

    listed = json.loads(wetakd(head, "status", "--json").stdout)
    assert [state["status"] for state in listed] == ["FAILED", "SUCCEEDED", "STOPPED"]
    unknown = wetakd(head, "stop", "nothing")
    assert unknown.returncode == 2
    assert "job 'nothing': the cluster knows no such job" in unknown.stderr
    outside = wetakd(head, "submit", digits, "--working-dir", str(tmp_path))
    assert outside.returncode == 2
    assert "--working-dir" in outside.stderr
