"""`wetakd` as a command, with a storage folder and a study name of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tests.contract.storage_layout import StorageLayout

STUDY_FILE = Path(__file__).with_name("study.yaml")
EXPERIMENT = "contract"
# Columns that may differ between two runs of one study file: times, ids, and keys, which are not results.
NOT_RESULTS = ["search_seconds", "train_seconds", "mlflow_run_id", "student_key"]
_TIMEOUT_S = 480.0
_POLL_S = 0.02


@dataclass(frozen=True)
class Wetakd:
    """The command with one environment; `folder` is its working directory and holds its storage."""

    folder: Path
    environment: Mapping[str, str]
    name: str = EXPERIMENT
    overrides: tuple[str, ...] = field(default=())

    @property
    def layout(self) -> StorageLayout:
        """Where its storage keeps things."""
        return StorageLayout(self.folder / "storage")

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [_program(), *words],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`wetakd run` of the contract's study."""
        return self(*self._run_words(*options))

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """The same without waiting; what it prints goes to `log.txt`."""
        with open(self.folder / "log.txt", "ab") as log:
            return subprocess.Popen(
                [_program(), *self._run_words(*options)],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """What started commands printed."""
        return (self.folder / "log.txt").read_text(errors="replace")

    def table(self) -> pd.DataFrame:
        """The table of trials."""
        return pd.read_parquet(self.layout.table(self.name))

    def results(self) -> pd.DataFrame:
        """The columns of the table that are results."""
        return results_of(self.table())

    def _run_words(self, *options: str) -> list[str]:
        overrides = [f"study.name={self.name}", *self.overrides]
        return ["run", str(STUDY_FILE), *(word for text in overrides for word in ("--set", text)), *options]

    @property
    def _environment(self) -> dict[str, str]:
        return {**self.environment, "WETAKD_STORAGE": str(self.layout.root)}


def results_of(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that two runs of one study file have in common, to the last digit."""
    return table.drop(columns=NOT_RESULTS).reset_index(drop=True)


def wait_until(ready: Callable[[], object], process: subprocess.Popen[bytes], what: str) -> None:
    """Wait until something is the case while a process runs."""
    deadline = time.monotonic() + _TIMEOUT_S
    while not ready():
        assert process.poll() is None, f"the command has ended (exit code {process.returncode}) before {what}"
        assert time.monotonic() < deadline, f"waited {_TIMEOUT_S:g} s for {what}"
        time.sleep(_POLL_S)


def _program() -> str:
    """The installed command of the environment that runs the tests."""
    return str(Path(sys.executable).with_name("wetakd"))
