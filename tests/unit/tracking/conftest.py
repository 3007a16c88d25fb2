"""A tracker over a real SQLite database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wetakd.storage.atomic_store import Store
from wetakd.tracking.mlflow_tracker import MlflowTracker
from wetakd.tracking.tracking_uri import check_tracking_uri


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for the module: MLflow takes seconds to make its tables."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/made/mlflow.db"
    check_tracking_uri(uri)
    return uri


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    """A name, and an experiment, of its own for each test."""
    return request.node.name.replace("[", "-").replace("]", "")


@pytest.fixture
def tracker(store: Store, study: str, uri: str) -> Iterator[MlflowTracker]:
    tracker = MlflowTracker(store, study, uri, study, "asked")
    yield tracker
    tracker.stop()
