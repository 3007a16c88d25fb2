"""A real head, with or without a token, and a client's commands."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
DIGITS = str(ROOT / "jobs" / "digits.yaml")


def wetakd(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours as a client."""
    return run(environment, "wetakd", *words)


def run(environment: dict[str, str], module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a module as a client."""
    command = [sys.executable, "-m", module, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


@contextmanager
def head(*, with_token: bool = True) -> Iterator[dict[str, str]]:
    """The environment of a client of a head with two CPUs, which demands a token or has authentication disabled."""
    folder = tempfile.mkdtemp(prefix="wkj-", dir="/tmp")  # short, for Ray's sockets
    ports = [free_port() for _ in range(4)]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WETAKD_", "MLFLOW_"))}
    if with_token:
        ours |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    else:
        ours |= {"RAY_AUTH_MODE": "disabled", "HOME": folder, "RAY_ADDRESS": f"127.0.0.1:{ports[0]}"}
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
