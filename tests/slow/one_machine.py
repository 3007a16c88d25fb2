"""The shipped one-machine cluster, and clients of its own, for tests."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "one_machine.py"


def free_ports(num: int) -> int:
    """The first of so many free ports in a row."""
    for first in range(30100, 60000, 97):
        sockets = [socket.socket() for _ in range(num)]
        try:
            for place, probe in enumerate(sockets):
                probe.bind(("127.0.0.1", first + place))
            return first
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
    raise AssertionError("no free ports")


@dataclass(frozen=True)
class OneMachine:
    """A cluster that `one_machine.py up` has started."""

    folder: Path
    environment: dict[str, str]

    def wetakd(self, *words: str, timeout_s: float = 400, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours against it."""
        return subprocess.run(
            [sys.executable, "-m", "wetakd", *words],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def nodes(self) -> list[str]:
        """The groups of the worker nodes that run now."""
        found = []
        for process in psutil.process_iter(["name", "cmdline"]):
            words = process.info["cmdline"] or []
            if process.info["name"] == "raylet" and any(f"{self.folder}/ray/" in word for word in words):
                labels = next((word for word in words if word.startswith("--labels=")), "")
                found.append("networks" if "networks" in labels else "students" if "students" in labels else "head")
        return sorted(name for name in found if name != "head")

    def wait_for_nodes(self, expected: list[str], timeout_s: float) -> None:
        """Wait until exactly these worker nodes run."""
        deadline = time.monotonic() + timeout_s
        while (found := self.nodes()) != expected:
            assert time.monotonic() < deadline, found
            time.sleep(0.5)


@contextmanager
def running() -> Iterator[OneMachine]:
    """The cluster, for the length of the block."""
    folder = Path(tempfile.mkdtemp(prefix="wkc-", dir="/tmp"))
    first = free_ports(4)
    arguments = ["--folder", str(folder), "--port", str(first), "--dashboard-port", str(first + 3)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WETAKD_", "MLFLOW_"))}
    try:
        up = subprocess.run(
            [sys.executable, str(SCRIPT), "up", *arguments], env=clean, capture_output=True, text=True, check=False
        )
        assert up.returncode == 0, f"{up.stderr}{(folder / 'up.log').read_text()}"
        words = [word for line in up.stdout.splitlines() for word in line.removeprefix("export ").split()]
        yield OneMachine(folder, clean | dict(word.split("=", 1) for word in words))
    finally:
        subprocess.run([sys.executable, str(SCRIPT), "down", "--folder", str(folder)], check=True, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
