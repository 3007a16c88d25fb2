"""Servers that a study leans on, and that can be hurt: MLflow, and S3 behind a wire that is slow or cut."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from wetakd import ui

_START_S = 90.0


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class MlflowServer:
    """`mlflow server` over a database in `folder`; may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """For mlflow.tracking_uri."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--backend-store-uri", f"sqlite:///{self._folder}/server.db"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self._folder / "server.txt", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=os.environ | quiet, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_S
        while not ui.answers(self.uri):
            assert time.monotonic() < deadline, "MLflow's server did not start"
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL for it and its workers."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


class S3:
    """An S3 server with one bucket, and the wire to it: `delay_s` holds back every piece, `cut` ends connections."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self._behind = self._server.get_host_and_port()
        self.delay_s, self.cut = 0.0, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def uri(self, folder: str, *, direct: bool = False) -> str:
        """For `storage`; `direct` goes around the wire."""
        port = self._behind[1] if direct else self.port
        options = "region=us-east-1&scheme=http&allow_bucket_creation=true"
        return f"s3://faults/{folder}?endpoint_override=127.0.0.1:{port}&{options}"

    def fetch(self, folder: str, into: Path) -> None:
        """Copy all that lies in a folder of the bucket."""
        from pyarrow import fs

        source, path = fs.FileSystem.from_uri(self.uri(folder, direct=True))
        into.mkdir(exist_ok=True)
        fs.copy_files(path, str(into), source_filesystem=source, destination_filesystem=fs.LocalFileSystem())

    def close(self) -> None:
        """End the server and the wire."""
        self._listener.close()
        self._server.stop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                client.close()
                continue
            server = socket.create_connection(self._behind)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError), source, target:
            while (piece := source.recv(65536)) and not self.cut:
                time.sleep(self.delay_s)
                target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
