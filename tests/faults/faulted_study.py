"""The study that is hurt, its driver, and what it leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tests.contract.storage_layout import StorageLayout
from tests.faults.s3_server import S3
from tests.mlflow_server import MlflowServer

ROOT = Path(__file__).parents[2]
# A driver that hangs does so for ever; one whose machine is busy takes minutes for what else takes half of one.
TIMEOUT_S = 900.0
# Columns and metrics that may differ between two runs of one file: times, and names that others gave.
VARIABLE = ["search_seconds", "train_seconds", "mlflow_run_id"]
# Searches also store their seconds, so their files differ from run to run.
_KINDS = ("networks", "caches", "students", "evaluations")
_STUDY = "hurt"
_RECIPE = {"epochs": 6, "batch_size": 64, "lr": 0.05, "precision": "float32"}
NET = {"model": {"name": "tests.faults.slow_networks:slow"}, "recipe": _RECIPE}


def tree(folder: Path, **blocks: Any) -> dict[str, Any]:
    """A study file: a teacher, two assistants, six recipes, two seeds; some ten seconds of work."""
    return {
        "study": {
            "name": _STUDY,
            "seeds": 2,
            "subsets": [2],
            "strategies": ["uniform", "de"],
            "controls": ["none", "single"],
        },
        "data": {"source": "digits", "max_train_images": 600},
        "splits": {"test": 0.25, "weigh": 0.15, "choose": 0.15},
        "views": {"num": 2, "crop_padding": 1},
        "teacher": NET,
        "assistants": {"first": NET, "second": {**NET, "recipe": {**_RECIPE, "lr": 0.01}}},
        "student": NET,
        "storage": str(folder / "runs"),
        "limits": {"checkpoint_s": 0, "silent_s": 20, "first_step_s": 120},
    } | blocks


@dataclass
class Run:
    """One study in a folder of its own."""

    folder: Path
    file: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    duration_s: float = 30.0
    mlflow: MlflowServer | None = None
    s3: S3 | None = None
    driver: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "tmp").mkdir()
        self.rewrite()
        self.rebuilt = Rebuilt(self.layout)

    def rewrite(self, **blocks: Any) -> None:
        """Other blocks for the study file, before it is started."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(dict(self.file) | blocks, sort_keys=False))

    @property
    def runs(self) -> Path:
        """Its storage, where it is a folder."""
        return self.folder / "runs"

    @property
    def layout(self) -> StorageLayout:
        """Where its storage keeps things."""
        return StorageLayout(self.runs)

    @property
    def log(self) -> str:
        """What the drivers said."""
        return (self.folder / "log.txt").read_text(errors="replace")

    def start(self, address: str) -> None:
        """Start a driver on the cluster."""
        self.driver = self._command(address, "run", str(self.folder / "study.yaml"), "--quiet")

    def sync(self, address: str) -> int:
        """Exit code of `wetakd sync`."""
        words = ("sync", _STUDY, "--storage", str(self.runs), "--timeout", "100")
        return self._command(address, *words).wait(TIMEOUT_S)

    def _command(self, address: str, *words: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"RAY_ADDRESS": address, "TMPDIR": str(self.folder / "tmp")} | self.environment
        with open(self.folder / "log.txt", "ab") as log:
            command = [sys.executable, "-m", "wetakd", *words]
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)

    @property
    def is_over(self) -> bool:
        """Whether the driver has ended."""
        return self.driver is None or self.driver.poll() is not None

    def wait(self, timeout_s: float = TIMEOUT_S) -> int | None:
        """The driver's exit code; None where it hangs, and then it is killed."""
        assert self.driver is not None
        try:
            return self.driver.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.driver.send_signal(signal.SIGKILL)
            self.driver.wait()
            return None

    def has_begun(self) -> bool:
        """Whether it is past its checks: MLflow answered."""
        return self.layout.journal(_STUDY).exists()

    def num_done(self, kind: str) -> int:
        """How many pieces of work of one of `storage_layout.KINDS` are finished."""
        return len(self.layout.committed(kind))


class Rebuilt:
    """Watches a folder for finished things that are finished once more: work that was done twice."""

    def __init__(self, layout: StorageLayout) -> None:
        self._layout, self._stopped = layout, threading.Event()
        self._seen: dict[str, int] = {}
        self._excused: set[str] = set()
        self.addresses: list[str] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._stopped.wait(0.1):
            for address, changed in self._layout.commit_times().items():
                if self._seen.setdefault(address, changed) != changed:
                    self._seen[address] = changed
                    if address.partition("/")[2] not in self._excused:
                        self.addresses.append(address)

    def excuse(self, key: str) -> None:
        """What was damaged on purpose may be made again: all that lies under this key."""
        self._excused.add(key)

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()


@dataclass(frozen=True)
class Left:
    """What a study left: the table, digests of all blobs by address, and MLflow's runs by uid."""

    table: pd.DataFrame
    blobs: Mapping[str, Mapping[str, str]]
    shown: Mapping[str, Any]

    @classmethod
    def by(cls, run: Run) -> Left:
        """Read it from the folder."""
        layout = run.layout
        frame = pd.read_parquet(layout.table(_STUDY))
        blobs = {
            f"{kind}/{key}": layout.digests(manifest)
            for kind in _KINDS
            for key, manifest in layout.committed(kind).items()
        }
        return cls(frame.drop(columns=VARIABLE).reset_index(drop=True), blobs, _shown(run))


def _shown(run: Run) -> dict[str, Any]:
    """MLflow's runs: status, parameters and every metric row (so one that was doubled stands there twice)."""
    databases = [path for path in (run.layout.tracking_database(), run.folder / "server.db") if path.exists()]
    if not databases:
        return {}
    database = sqlite3.connect(f"file:{databases[-1]}?mode=ro", uri=True)
    uid_of = dict(database.execute("SELECT run_uuid, value FROM tags WHERE key = 'wetakd.uid'").fetchall())
    runs = {
        uid_of.get(run, run): {"status": status, "params": {}, "metrics": [], "times": 0}
        for run, status in database.execute("SELECT run_uuid, status FROM runs")
    }
    for run in uid_of.values():
        runs[run]["times"] += 1
    for run, uid in uid_of.items():
        runs[uid]["params"] |= dict(database.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,)))
        rows = database.execute("SELECT key, step, value FROM metrics WHERE run_uuid = ? ORDER BY key, step", (run,))
        runs[uid]["metrics"] += [row for row in rows if not row[0].endswith("_seconds")]
    database.close()
    return runs
