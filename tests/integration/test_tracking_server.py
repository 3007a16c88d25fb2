"""Tracking against a real MLflow server: nested runs, a server that dies in mid-study, models, and `sync`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mlflow_server import MlflowServer
from wetakd.common.errors import UserError
from wetakd.storage.atomic_store import Store
from wetakd.tracking.mlflow_tracker import MlflowTracker
from wetakd.tracking.tracker import Tracker
from wetakd.tracking.tracking_uri import check_tracking_uri

FLUSH_S = 90.0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs(uri: str, study: str) -> dict[str, Any]:
    """Runs by uid; fails where two have the same."""
    mlflow = client(uri)
    found = mlflow.search_runs([mlflow.get_experiment_by_name(study).experiment_id])
    by_uid = {run.data.tags["wetakd.uid"]: run for run in found}
    assert len(by_uid) == len(found), "a run is doubled"
    return by_uid


def steps(uri: str, run: Any, key: str) -> list[int]:
    return [metric.step for metric in client(uri).get_metric_history(run.info.run_id, key)]


def tell(tracker: Tracker, trials: range, num_epochs: int = 4) -> None:
    tracker.start_run("study", name="digits", tags={"kind": "study"})
    for trial in trials:
        uid = f"trial:{trial}"
        tracker.start_run(uid, name=uid, parent="study", params={"lr": 0.1}, tags={"kind": "trial"})
        for epoch in range(1, num_epochs + 1):
            tracker.log_metrics(uid, {"loss": 1 / (epoch + trial), "accuracy": epoch / 10}, step=epoch)
        tracker.end_run(uid, "FAILED" if trial == 1 else "FINISHED")


def forget_what_was_sent(store: Store, study: str) -> None:
    for path in store.list(f"studies/{study}/journal"):
        if "/sent-" in path:
            store.delete(path)


def test_runs_nest_and_a_journal_sent_twice_doubles_nothing(server: MlflowServer, store: Store) -> None:
    check_tracking_uri(server.uri)
    for _ in range(3):
        forget_what_was_sent(store, "nest")
        tracker = MlflowTracker(store, "nest", server.uri, "nest", "asked")
        tell(tracker, range(3))
        tracker.log_dataset("study", name="digits", digest="f" * 64, source="digits", profile={"fit": 1000})
        tracker.log_artifact("study", "tables/trials.csv", b"a,b")
        tracker.log_metrics("study", {"nan": float("nan"), "inf": float("inf")})
        tracker.end_run("study", "FINISHED")
        assert tracker.flush(FLUSH_S), tracker.problem
        tracker.stop()
    found = runs(server.uri, "nest")
    assert sorted(found) == ["study", "trial:0", "trial:1", "trial:2"]
    parent = found.pop("study")
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent.info.run_id}
    assert [found[uid].info.status for uid in sorted(found)] == ["FINISHED", "FAILED", "FINISHED"]
    assert all(steps(server.uri, run, "loss") == [1, 2, 3, 4] for run in found.values())
    assert steps(server.uri, parent, "nan") == steps(server.uri, parent, "inf") == [0]
    assert parent.info.status == "FINISHED"
    assert len(parent.inputs.dataset_inputs) == 1
    downloaded = client(server.uri).download_artifacts(parent.info.run_id, "tables/trials.csv")
    assert Path(downloaded).read_bytes() == b"a,b"


def test_a_server_that_dies_in_mid_study_stops_nothing_and_misses_nothing(server: MlflowServer, store: Store) -> None:
    tracker = MlflowTracker(store, "outage", server.uri, "outage", "asked")
    tell(tracker, range(2))
    assert tracker.flush(FLUSH_S), tracker.problem
    tell(tracker, range(2, 20))
    server.kill()
    begin = time.monotonic()
    tell(tracker, range(20, 30))
    told_s = time.monotonic() - begin
    assert not tracker.flush(2.0)
    assert told_s < (time.monotonic() - begin) / 2, "no call waits for the server"
    assert tracker.problem is not None
    with pytest.raises(UserError, match=r"mlflow\.tracking_uri: .* does not answer"):
        check_tracking_uri(server.uri)
    server.start()
    tell(tracker, range(30, 40))
    tracker.end_run("study", "FINISHED")
    assert tracker.flush(FLUSH_S), tracker.problem
    assert tracker.problem is None
    tracker.stop()
    found = runs(server.uri, "outage")
    assert len(found) == 41
    assert all(steps(server.uri, found[f"trial:{n}"], "loss") == [1, 2, 3, 4] for n in range(40))
    assert {run.info.status for uid, run in found.items() if uid != "trial:1"} == {"FINISHED"}


def test_a_server_away_for_good_is_synced_by_another_process(server: MlflowServer, store: Store) -> None:
    server.kill()
    try:
        tracker = MlflowTracker(store, "late", server.uri, "late", "asked")
        tell(tracker, range(3))
        tracker.log_artifact("study", "study.yaml", b"study: {}")
        tracker.end_run("study", "FINISHED")
        assert not tracker.flush(1.0)
        tracker.stop()
    finally:
        server.start()
    script = (
        "import sys\n"
        "from wetakd.storage.atomic_store import Store\n"
        "from wetakd.tracking.mlflow_tracker import MlflowTracker\n"
        "tracker = MlflowTracker(Store(sys.argv[1]), 'late', sys.argv[2], 'late', 'asked')\n"
        "assert tracker.num_unsent > 0 and tracker.flush(60) and tracker.num_unsent == 0\n"
        "tracker.stop()\n"
    )
    _python(script, store.uri, server.uri, cwd=server.folder)
    found = runs(server.uri, "late")
    assert {run.info.status for uid, run in found.items() if uid != "trial:1"} == {"FINISHED"}
    assert len(found) == 4
    assert client(server.uri).list_artifacts(found["study"].info.run_id)[0].path == "study.yaml"


SAVE_MODEL = (
    "import sys, torch, numpy, mlflow.pytorch\n"
    "torch.set_num_threads(1)\n"
    "net = torch.nn.Linear(3, 2).eval()\n"
    "torch.nn.init.ones_(net.weight), torch.nn.init.zeros_(net.bias)\n"
    "example = numpy.zeros((4, 3), 'float32')\n"
    "mlflow.pytorch.save_model(net, sys.argv[1], input_example=example, pip_requirements=['torch'])\n"
)
LOG_MODEL = (
    "import logging, sys\n"
    "logging.basicConfig(level=logging.INFO)\n"
    "from wetakd.storage.atomic_store import Store\n"
    "from wetakd.tracking.mlflow_tracker import MlflowTracker\n"
    "from wetakd.tracking.tracking_uri import check_tracking_uri\n"
    "check_tracking_uri(sys.argv[2])\n"
    "tracker = MlflowTracker(Store(sys.argv[1]), 's', sys.argv[2], 'models', 'asked')\n"
    "tracker.start_run('study', name='s')\n"
    "tracker.log_model('study', sys.argv[3], name='student', description='# A card', register_as='shipped')\n"
    "tracker.end_run('study', 'FINISHED')\n"
    "assert tracker.flush(90), tracker.problem\n"
    "tracker.stop()\n"
)
LOAD_MODEL = (
    "import sys, numpy, mlflow\n"
    "mlflow.set_tracking_uri(sys.argv[1])\n"
    "for uri in sys.argv[2:]:\n"
    "    model = mlflow.pyfunc.load_model(uri)\n"
    "    assert (model.predict(numpy.ones((2, 3), 'float32')) == 3).all()\n"
    "    assert model.metadata.model_id and model.metadata.run_id and model.metadata.signature\n"
)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    _python(SAVE_MODEL, str(folder / "model"), cwd=folder)
    return folder / "model"


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_a_model_is_shown_registered_and_loads_in_a_fresh_process(
    kind: str, server: MlflowServer, model_folder: Path, tmp_path: Path
) -> None:
    """All in other processes: nothing may be printed, nothing written to where the user stands."""
    uri = server.uri if kind == "server" else f"sqlite:///{tmp_path}/runs/mlflow.db"
    here = tmp_path / "here"
    here.mkdir()
    for _ in range(2):  # another driver sends it all again, and doubles nothing
        forget_what_was_sent(Store(str(tmp_path / "runs")), "s")
        done = _python(LOG_MODEL, str(tmp_path / "runs"), uri, str(model_folder), cwd=here)
        assert (done.stdout, done.stderr) == ("", "")
    assert list(here.iterdir()) == []
    mlflow = client(uri)
    run = runs(uri, "models")["study"]
    (output,) = run.outputs.model_outputs
    (model,) = mlflow.search_logged_models([run.info.experiment_id])
    assert (output.model_id, model.source_run_id, model.name) == (model.model_id, run.info.run_id, "student")
    (version,) = mlflow.search_model_versions("name = 'shipped'")
    assert version.run_id == run.info.run_id
    assert model.tags["mlflow.note.content"] == version.description == "# A card"
    _python(LOAD_MODEL, uri, f"models:/{model.model_id}", "models:/shipped/1", cwd=here)


def _python(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    environment = os.environ | {"MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done
