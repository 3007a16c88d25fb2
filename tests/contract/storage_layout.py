"""Where a study's files are stored, and the names of its worker processes; nothing else in these tests knows it.

Also used by `tests.faults`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

# Kinds of finished work -> the folder that holds one sub-folder for each piece of it.
_FOLDERS = {
    "networks": "networks",
    "caches": "caches",
    "searches": "searches",
    "students": "students",
    "evaluations": "evaluations",
}
_MANIFEST = "manifest.json"

KINDS = tuple(_FOLDERS)
"""Kinds of finished work, in the order in which a study produces them."""

WORKERS = {
    "networks": "network",
    "searches": "_search_pool",
    "students": "_StudentTrial",
    "evaluations": "_evaluate",
}
"""Kind of work -> the name that Ray gives to a process that does it (`ray::NAME`). Only `tests.faults` needs it."""


@dataclass(frozen=True)
class StorageLayout:
    """Paths in a storage folder."""

    root: Path

    def table(self, study: str) -> Path:
        """The table of all trials (Parquet)."""
        return self._study(study) / "trials.parquet"

    def summary(self, study: str) -> Path:
        """The summary (JSON); written last, so it exists once the study has results."""
        return self._study(study) / "summary.json"

    def journal(self, study: str) -> Path:
        """What is still to be sent to MLflow; exists once MLflow was reached."""
        return self._study(study) / "journal"

    def lease(self, study: str) -> Path:
        """Names the driver that runs the study, and exists while it runs."""
        return self._study(study) / "lease.json"

    def tracking_database(self) -> Path:
        """MLflow's SQLite file where no tracking URI is given."""
        return self.root / "mlflow.db"

    def committed(self, kind: str) -> dict[str, Path]:
        """The manifests of all finished work of one of `KINDS`, by key. A manifest is written last."""
        return {path.parent.name: path for path in self.root.glob(f"{_FOLDERS[kind]}/*/{_MANIFEST}")}

    def commit_times(self) -> dict[str, int]:
        """When each finished network, cache, search, student and evaluation was committed (ns), by kind and key."""
        times = {}
        for kind in KINDS:
            for key, path in self.committed(kind).items():
                try:
                    times[f"{kind}/{key}"] = path.stat().st_mtime_ns
                except OSError:  # being replaced, or storage is away
                    continue
        return times

    def digests(self, manifest: Path) -> dict[str, str]:
        """SHA-256 of the current content of every file that a manifest names, by name."""
        files = json.loads(manifest.read_text())["blobs"]
        return {
            name: hashlib.sha256((manifest.parent / entry["path"]).read_bytes()).hexdigest()
            for name, entry in files.items()
        }

    def key_of(self, file: Path) -> str | None:
        """The key of the finished work that a stored file belongs to; None for a study's own files."""
        parts = file.relative_to(self.root).parts
        return parts[1] if len(parts) > 2 else None

    def unfinished_writes(self) -> list[Path]:
        """Files whose writing was begun and not completed."""
        return list(self.root.rglob("*.part"))

    def temporary_folders(self) -> list[Path]:
        """Temporary folders of drivers that run or were killed."""
        return list(self.root.glob("studies/*/tmp/*"))

    def damageable_files(self) -> list[Path]:
        """Files that a study repairs or makes again when they are damaged.

        Left out are MLflow's own files, and the copies of files that are still to be sent to MLflow.
        """
        files = [path for path in self.root.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db")]
        return sorted(path for path in files if not {"mlartifacts", "blobs"} & set(path.parts))

    def _study(self, study: str) -> Path:
        return self.root / "studies" / study
