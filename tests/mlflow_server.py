"""A real MLflow server that can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.ports import free_port

_START_S = 120.0


class MlflowServer:
    """`mlflow server` on loopback with one worker; its SQLite file `server.db` and its artifacts lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """For mlflow.tracking_uri."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        log = self.folder / "server.txt"
        with open(log, "ab") as stream:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | quiet, stdout=stream, stderr=stream, start_new_session=True
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self._process.poll() is None, f"MLflow's server ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"MLflow's server does not answer: {log.read_text()[-2000:]}"
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL for it and its worker, which are a group of their own."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever the environment names
        try:
            with direct.open(f"{self.uri}/health", timeout=5):
                return True
        except OSError:
            return False
