"""A real Ray cluster with two CPUs, a real MLflow server, and requests to it."""

from __future__ import annotations

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
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

_START_S = 120.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names
_PREFIXES = ("RAY_", "WETAKD_", "MLFLOW_")


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of Ray, MLflow and wetakd."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES)}


@contextmanager
def ray_cluster() -> Iterator[dict[str, str]]:
    """Start a head node; yields the environment of a process that is to join it."""
    folder = tempfile.mkdtemp(prefix="wkc-", dir="/tmp")  # short: Ray puts sockets below it
    environment = clean_environment() | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    port = free_port()
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--num-cpus=2", "--disable-usage-stats"),
        *(f"--port={port}", "--include-dashboard=false", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}/ray"),
        *("--min-worker-port=0", "--max-worker-port=0", f"--object-store-memory={200 * 2**20}"),
    ]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        yield environment | {"RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        for process in psutil.process_iter(["cmdline"]):
            if any(f"{folder}/ray/" in word for word in process.info["cmdline"] or ()):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port of this machine that is not in use at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MlflowServer:
    """`mlflow server` on this machine; its database and artifacts are stored in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--port", self.uri.rpartition(":")[2], "--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self._folder / "server.txt", "ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=clean_environment() | settings,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _START_S
        while not self._answers():
            log = (self._folder / "server.txt").read_text(errors="replace")[-2000:]
            assert self._process is not None, "the MLflow server was not started"
            assert self._process.poll() is None, f"the MLflow server has ended: {log}"
            assert time.monotonic() < deadline, f"the MLflow server does not answer: {log}"
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to it and its workers, which are a process group of their own."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with _DIRECT.open(f"{self.uri}/health", timeout=5):
                return True
        except OSError:
            return False

    # ------------------------------------------------------------------------------------------- REST interface

    def call(self, endpoint: str, **values: Any) -> dict[str, Any]:
        """POST to an endpoint of the REST interface."""
        request = urllib.request.Request(
            f"{self.uri}/api/2.0/mlflow/{endpoint}",
            data=json.dumps(values).encode(),
            headers={"Content-Type": "application/json"},
        )
        with _DIRECT.open(request, timeout=60) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def experiment_id(self, name: str) -> str | None:
        """Id of an experiment; None where the server has none of this name."""
        found = self.call("experiments/search", max_results=1000).get("experiments", [])
        return next((entry["experiment_id"] for entry in found if entry["name"] == name), None)

    def runs(self, experiment: str, study: str) -> list[Run]:
        """All runs of a study."""
        identity = self.experiment_id(experiment)
        if identity is None:
            return []
        runs: list[Run] = []
        page = ""
        while True:
            answer = self.call(
                "runs/search",
                experiment_ids=[identity],
                filter=f"tags.`wetakd.study` = '{study}'",
                max_results=1000,
                page_token=page,
            )
            runs += [Run(entry) for entry in answer.get("runs", [])]
            page = answer.get("next_page_token", "")
            if not page:
                return runs

    def steps(self, run: Run, metric: str) -> list[int]:
        """Steps of all values of a metric, sorted; a step that was sent twice is in it twice."""
        query = f"run_id={run.identity}&metric_key={metric}&max_results=1000"
        with _DIRECT.open(f"{self.uri}/api/2.0/mlflow/metrics/get-history?{query}", timeout=60) as response:
            return sorted(int(entry.get("step", 0)) for entry in json.load(response).get("metrics", []))


class Run:
    """A run as the REST interface describes it."""

    def __init__(self, entry: dict[str, Any]) -> None:
        info, data = entry["info"], entry["data"]
        self.identity: str = info["run_id"]
        self.name: str = info["run_name"]
        self.status: str = info["status"]
        self.params: dict[str, str] = {pair["key"]: pair["value"] for pair in data.get("params", [])}
        self.metrics: dict[str, float] = {pair["key"]: pair["value"] for pair in data.get("metrics", [])}
        self.tags: dict[str, str] = {pair["key"]: pair["value"] for pair in data.get("tags", [])}

    @property
    def kind(self) -> str:
        """`study`, `teacher`, `assistant` or `trial`."""
        return self.tags.get("kind", "")

    @property
    def parent(self) -> str | None:
        """Id of its parent run."""
        return self.tags.get("mlflow.parentRunId")


def contents(runs: Sequence[Run]) -> list[tuple[object, ...]]:
    """What two runs of one study have in common in MLflow: kinds, names, statuses, parameters and results."""
    return sorted(
        (
            run.kind,
            run.name if run.kind != "study" else "",
            run.status,
            sorted(run.params.items()),
            sorted(run.metrics),
            sorted((name, value) for name, value in run.metrics.items() if "accuracy" in name or "nll" in name),
        )
        for run in runs
    )
