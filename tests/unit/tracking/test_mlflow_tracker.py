"""Tracking, on a real SQLite store: every run and number is there, once, whatever was logged twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.unit.tracking.mlflow_runs import FLUSH_S, log_small_study, metric_history, mlflow_client, runs_by_uid
from wetakd.config.study_file import config_from_tree as check_config
from wetakd.storage.atomic_store import Store
from wetakd.tracking.mlflow_tracker import MlflowTracker, open_tracker, send_journal
from wetakd.tracking.tracker import NullTracker


def test_a_study_is_shown(tracker: MlflowTracker, study: str, uri: str) -> None:
    begin = time.monotonic()
    log_small_study(tracker)
    told_s = time.monotonic() - begin
    assert tracker.flush(FLUSH_S)
    assert told_s < (time.monotonic() - begin) / 2, "no call waits for what is sent"
    assert tracker.problem is None
    assert tracker.num_unsent == 0
    found = runs_by_uid(uri, study)
    assert sorted(found) == ["study", "trial:0", "trial:1"]
    parent = found["study"].info.run_id
    assert tracker.run_id("study") == parent
    assert tracker.run_id("trial:9") is None
    assert tracker.experiment_id == found["study"].info.experiment_id
    for uid in ("trial:0", "trial:1"):
        assert found[uid].data.tags["mlflow.parentRunId"] == parent
        assert found[uid].data.tags["wetakd.study"] == study
        assert found[uid].data.tags["kind"] == "trial"
        assert found[uid].data.params == {"lr": "0.1"}
        assert metric_history(uri, found[uid], "accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
        assert metric_history(uri, found[uid], "test_accuracy") == [(0, 0.5)]
    assert "mlflow.parentRunId" not in found["study"].data.tags
    assert [found[uid].info.status for uid in sorted(found)] == ["FINISHED", "FINISHED", "FAILED"]
    assert found["trial:0"].info.run_name == "de s0"
    (shown,) = found["study"].inputs.dataset_inputs
    assert (shown.dataset.name, json.loads(shown.dataset.profile)) == ("digits", {"fit": 1000})
    folder = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts" / parent / "artifacts"
    assert (folder / "tables" / "trials.csv").read_bytes() == b"a,b"
    assert (folder / "study.yaml").read_bytes() == b"study: {}"


def test_a_second_driver_goes_on_with_the_same_runs(store: Store, study: str, uri: str) -> None:
    first = MlflowTracker(store, study, uri, study, "asked")
    first.start_run("study", name="digits", params={"num_seeds": 2})
    first.log_metrics("study", {"loss": 1.0}, step=1)
    assert first.flush(FLUSH_S)
    first.end_run("study", "KILLED")
    first.stop()
    second = MlflowTracker(store, study, uri, study, "asked")
    second.start_run("study", name="digits", params={"num_seeds": 2})
    assert second.flush(FLUSH_S)
    assert runs_by_uid(uri, study)["study"].info.status == "RUNNING"
    assert (second.next_step("study", "loss"), second.next_step("study", "never noted")) == (2, 0)
    log_small_study(second, num_epochs=5)
    second.log_metrics("study", {"loss": 99.0}, step=1)
    second.log_metrics("study", {"loss": 0.5}, step=2)
    assert second.flush(FLUSH_S)
    second.stop()
    found = runs_by_uid(uri, study)
    assert metric_history(uri, found["study"], "loss") == [(1, 1.0), (2, 0.5)]
    assert len(metric_history(uri, found["trial:0"], "loss")) == 5
    assert found["study"].info.status == "FINISHED"


def test_another_question_has_runs_of_its_own_and_ends_those_of_the_last(store: Store, study: str, uri: str) -> None:
    first = MlflowTracker(store, study, uri, study, "old")
    first.start_run("study", name="digits", params={"num_seeds": 2})
    first.log_metrics("study", {"loss": 1.0})
    first.stop()  # as a driver that was killed: nothing is closed
    second = MlflowTracker(store, study, uri, study, "new")
    second.start_run("study", name="digits", params={"num_seeds": 3})
    second.start_run("trial:0", name="t", parent="study")
    second.log_metrics("study", {"loss": 0.5})
    second.end_run("study", "FINISHED")
    assert second.flush(FLUSH_S)
    second.stop()
    experiment = mlflow_client(uri).get_experiment_by_name(study)
    found = {
        (run.data.tags["wetakd.question"], run.data.tags["wetakd.uid"]): run
        for run in mlflow_client(uri).search_runs([experiment.experiment_id])
    }
    assert sorted(found) == [("new", "study"), ("new", "trial:0"), ("old", "study")]
    old, new = found["old", "study"], found["new", "study"]
    assert (old.info.status, old.data.metrics, old.data.params) == ("KILLED", {"loss": 1.0}, {"num_seeds": "2"})
    assert (new.info.status, new.data.metrics, new.data.params) == ("FINISHED", {"loss": 0.5}, {"num_seeds": "3"})
    assert found["new", "trial:0"].data.tags["mlflow.parentRunId"] == new.info.run_id


def test_saying_it_again_costs_nothing(tracker: MlflowTracker, store: Store, study: str) -> None:
    log_small_study(tracker)
    last = tracker._journal.last
    tracker.start_run("study", name="digits", params={"num_seeds": 2}, tags={"kind": "study"})
    assert tracker._journal.last == last + 1, "only the reopening"
    tracker.log_dataset("study", name="digits", digest="f" * 64, source="digits", profile={"fit": 1000})
    tracker.log_metrics("trial:0", {"loss": 7.0, "accuracy": 7.0}, step=2)
    tracker.set_tags("study", {"kind": "study"})
    tracker.log_artifact("study", "study.yaml", b"study: {}")
    assert tracker._journal.last == last + 1
    tracker.log_artifact("study", "study.yaml", b"study: {name: new}")
    tracker.set_tags("study", {"kind": "other"})
    tracker.log_metrics("trial:0", {"loss": 7.0, "new": 7.0}, step=2)
    assert tracker._journal.last == last + 4


def test_a_changed_param_is_tagged_and_breaks_nothing(tracker: MlflowTracker, study: str, uri: str) -> None:
    tracker.start_run("study", name="s", params={"lr": 0.1, "epochs": 3})
    tracker.start_run("study", name="s", params={"lr": 0.2, "epochs": 3, "new": "x"})
    tracker.log_metrics("study", {"loss": 1.0})
    assert tracker.flush(FLUSH_S)
    run = runs_by_uid(uri, study)["study"]
    assert run.data.params == {"lr": "0.1", "epochs": "3", "new": "x"}
    assert run.data.tags["wetakd.changed_params"] == "lr"
    assert run.data.metrics == {"loss": 1.0}


def test_a_run_must_be_opened_first(tracker: MlflowTracker) -> None:
    for say in (lambda: tracker.log_metrics("x", {"a": 1.0}), lambda: tracker.end_run("x", "FINISHED")):
        with pytest.raises(KeyError, match="never opened"):
            say()


def test_a_server_that_is_away_stops_nothing_and_loses_nothing(store: Store, study: str, uri: str) -> None:
    away = f"http://user:s3cr3t@127.0.0.1:{free_port()}"
    tracker = MlflowTracker(store, study, away, study, "asked")
    log_small_study(tracker)
    begin = time.monotonic()
    while tracker.problem is None and time.monotonic() - begin < FLUSH_S:
        assert not tracker.flush(0.2)
    assert tracker.problem is not None
    assert "s3cr3t" not in tracker.problem
    assert "\n" not in tracker.problem
    assert tracker.num_unsent > 0
    assert tracker.run_id("study") is None
    tracker.stop()
    config = read_study_config(store, uri, study)
    assert send_journal(config, store, FLUSH_S)
    assert send_journal(config, store, FLUSH_S)
    found = runs_by_uid(uri, study)
    assert len(found) == 3
    assert len(metric_history(uri, found["trial:1"], "loss")) == 3
    assert found["trial:1"].info.end_time < time.time() * 1000
    assert found["trial:1"].info.status == "FAILED"


def read_study_config(store: Store, uri: str | None, study: str, enabled: bool = True) -> Any:
    network = {"model": {"name": "plain"}}
    return check_config(
        {
            "study": {"name": study},
            "data": {"source": "digits"},
            "teacher": network,
            "assistants": {"a": network},
            "student": network,
            "storage": store.uri,
            "mlflow": {"enabled": enabled, "tracking_uri": uri, "experiment": study},
        }
    )


def test_disabled_means_nothing_is_shown(store: Store, study: str) -> None:
    with open_tracker(read_study_config(store, "http://127.0.0.1:1", study, enabled=False), store) as tracker:
        assert isinstance(tracker, NullTracker)
        log_small_study(tracker)
        tracker.log_model("study", "nowhere", name="student", description="", register_as=None)
        assert tracker.flush(0)
        assert tracker.run_id("study") is None
        assert tracker.problem is None
    assert store.list() == []


def test_a_driver_that_raises_still_sends_its_last_words(store: Store, study: str, uri: str) -> None:
    def drive() -> None:
        with open_tracker(read_study_config(store, uri, study), store) as tracker:
            tracker.start_run("study", name="s")
            tracker.flush(FLUSH_S)
            tracker.end_run("study", "KILLED")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive()
    assert runs_by_uid(uri, study)["study"].info.status == "KILLED"


def test_tracking_does_not_import_mlflow() -> None:
    script = "import sys, wetakd.tracking; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_credentials_reach_neither_the_journal_nor_mlflow(
    tracker: MlflowTracker, store: Store, study: str, uri: str
) -> None:
    secret = "s3://AKIA1:s3cr3t@bucket/x?region=us-east-1"
    tracker.start_run("study", name="s", params={"data": secret, "files": [secret, "plain"]}, tags={"t": secret})
    tracker.set_tags("study", {"u": f"read from {secret}, then trained"})
    tracker.log_dataset("study", name="d", digest="d", source=secret, profile={})
    assert tracker.flush(FLUSH_S)
    run = runs_by_uid(uri, study)["study"]
    assert run.data.params["data"] == "s3://bucket/x?region=us-east-1"
    written = "".join(Path(store.uri, path).read_text() for path in store.list()) + str(run.to_dictionary())
    assert "bucket/x" in written
    assert "s3cr3t" not in written
    assert "AKIA1" not in written
