"""Tracking, on a real SQLite store: every run and number is there, once, whatever was said twice or sent twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from wetakd.config.study_file import check_tree as check_config
from wetakd.storage.store import Store
from wetakd.tracking.event_journal import study_id
from wetakd.tracking.mlflow_tracker import MlflowTracker, open_tracker, send_journal
from wetakd.tracking.tracker import NullTracker, Tracker
from wetakd.tracking.tracking_uri import check_tracking_uri

FLUSH_S = 60.0


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


def tell(tracker: Tracker, num_epochs: int = 3, num_trials: int = 2) -> None:
    """A small study, from its beginning to its end."""
    tracker.start_run("study", name="digits", params={"num_seeds": 2}, tags={"kind": "study"})
    tracker.log_dataset("study", name="digits", digest="f" * 64, source="digits", profile={"fit": 1000})
    for trial in range(num_trials):
        uid = f"trial:{trial}"
        tracker.start_run(uid, name=f"de s{trial}", parent="study", params={"lr": 0.1}, tags={"kind": "trial"})
        for epoch in range(1, num_epochs + 1):
            tracker.log_metrics(uid, {"loss": 1 / (epoch + trial), "accuracy": epoch / 10}, step=epoch)
        tracker.log_metrics(uid, {"test_accuracy": 0.5})
        tracker.end_run(uid, "FAILED" if trial == 1 else "FINISHED")
    tracker.log_artifact("study", "tables/trials.csv", b"a,b")
    tracker.log_artifact("study", "study.yaml", b"study: {}")
    tracker.end_run("study", "FINISHED")


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs(uri: str, study: str) -> dict[str, Any]:
    """Runs by uid; fails where two have the same."""
    mlflow = client(uri)
    experiment = mlflow.get_experiment_by_name(study)
    found = mlflow.search_runs([experiment.experiment_id]) if experiment else []
    by_uid = {run.data.tags["wetakd.uid"]: run for run in found}
    assert len(by_uid) == len(found), "a run is doubled"
    return by_uid


def curve(uri: str, run: Any, key: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client(uri).get_metric_history(run.info.run_id, key)]


def forget_what_was_sent(store: Store, study: str) -> None:
    for path in store.list(f"studies/{study}/journal"):
        if "/sent-" in path:
            store.delete(path)


# --------------------------------------------------------------------------------------------------- what is shown


def test_a_study_is_shown(tracker: MlflowTracker, study: str, uri: str) -> None:
    begin = time.monotonic()
    tell(tracker)
    told_s = time.monotonic() - begin
    assert tracker.flush(FLUSH_S)
    assert told_s < (time.monotonic() - begin) / 2, "no call waits for what is sent"
    assert tracker.problem is None
    assert tracker.num_unsent == 0
    found = runs(uri, study)
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
        assert curve(uri, found[uid], "accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
        assert curve(uri, found[uid], "test_accuracy") == [(0, 0.5)]
    assert "mlflow.parentRunId" not in found["study"].data.tags
    assert [found[uid].info.status for uid in sorted(found)] == ["FINISHED", "FINISHED", "FAILED"]
    assert found["trial:0"].info.run_name == "de s0"
    (shown,) = found["study"].inputs.dataset_inputs
    assert (shown.dataset.name, json.loads(shown.dataset.profile)) == ("digits", {"fit": 1000})
    folder = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts" / parent / "artifacts"
    assert (folder / "tables" / "trials.csv").read_bytes() == b"a,b"
    assert (folder / "study.yaml").read_bytes() == b"study: {}"


def test_the_journal_sent_twice_doubles_nothing(store: Store, study: str, uri: str) -> None:
    for _ in range(3):
        forget_what_was_sent(store, study)
        tracker = MlflowTracker(store, study, uri, study, "asked")
        tell(tracker)
        tracker.log_metrics("study", {"nan": float("nan"), "inf": float("inf"), "small": 5e-324}, step=1)
        assert tracker.flush(FLUSH_S)
        tracker.stop()
    found = runs(uri, study)
    assert sorted(found) == ["study", "trial:0", "trial:1"]
    for uid in ("trial:0", "trial:1"):
        assert [step for step, _ in curve(uri, found[uid], "loss")] == [1, 2, 3]
    assert all(len(curve(uri, found["study"], key)) == 1 for key in ("nan", "inf", "small"))
    assert [found[uid].info.status for uid in sorted(found)] == ["FINISHED", "FINISHED", "FAILED"]
    assert len(found["study"].inputs.dataset_inputs) == 1


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
    assert runs(uri, study)["study"].info.status == "RUNNING"
    assert (second.next_step("study", "loss"), second.next_step("study", "never noted")) == (2, 0)
    tell(second, num_epochs=5)
    second.log_metrics("study", {"loss": 99.0}, step=1)
    second.log_metrics("study", {"loss": 0.5}, step=2)
    assert second.flush(FLUSH_S)
    second.stop()
    found = runs(uri, study)
    assert curve(uri, found["study"], "loss") == [(1, 1.0), (2, 0.5)]
    assert len(curve(uri, found["trial:0"], "loss")) == 5
    assert found["study"].info.status == "FINISHED"


def test_what_a_damaged_journal_makes_us_say_again_stands_once(store: Store, study: str, uri: str) -> None:
    for _ in range(2):
        tracker = MlflowTracker(store, study, uri, study, "asked")
        tell(tracker)
        tracker.log_metrics("trial:0", {"loss": 9.0}, step=4)
        assert tracker.flush(FLUSH_S)
        tracker.stop()
        for path in store.list(f"studies/{study}/journal"):
            if "/segments/" in path or path.endswith("/id"):
                store.delete(path)
    found = runs(uri, study)
    assert sorted(found) == ["study", "trial:0", "trial:1"]
    assert [step for step, _ in curve(uri, found["trial:0"], "loss")] == [1, 2, 3, 4]
    assert [found[uid].info.status for uid in sorted(found)] == ["FINISHED", "FINISHED", "FAILED"]


@pytest.mark.parametrize("num_lost", [1, 5, 100])
def test_what_was_lost_before_it_was_sent_is_said_again(store: Store, study: str, uri: str, num_lost: int) -> None:
    first = MlflowTracker(store, study, f"http://127.0.0.1:{free_port()}", study, "asked")
    assert not first.has_ended("study")
    tell(first)
    assert first.has_ended("study")
    first.stop()
    (segment,) = store.list(f"studies/{study}/journal/segments")
    lines = (store.read_file(segment) or b"").splitlines(keepends=True)
    store.write(segment, b"".join(lines[:-num_lost]))
    second = MlflowTracker(store, study, uri, study, "asked")
    assert not second.has_ended("study")
    tell(second)
    assert second.flush(FLUSH_S)
    second.stop()
    found = runs(uri, study)
    assert [found[uid].info.status for uid in ("study", "trial:0", "trial:1")] == ["FINISHED", "FINISHED", "FAILED"]
    assert [step for step, _ in curve(uri, found["trial:1"], "loss")] == [1, 2, 3]


def test_a_gap_that_no_server_saw_is_no_end(store: Store, study: str, uri: str) -> None:
    tracker = MlflowTracker(store, study, f"http://127.0.0.1:{free_port()}", study, "asked")
    tell(tracker)
    tracker.stop()
    (segment,) = store.list(f"studies/{study}/journal/segments")
    store.write(segment, (store.read_file(segment) or b"").replace(b'"loss', b'"lost', 1))
    for has_ended in (False, True):
        tracker = MlflowTracker(store, study, uri, study, "asked")
        assert tracker.has_ended("study") is has_ended
        tell(tracker)
        assert tracker.flush(FLUSH_S)
        tracker.stop()
    assert sorted(step for step, _ in curve(uri, runs(uri, study)["trial:0"], "loss")) == [1, 2, 3]


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
    experiment = client(uri).get_experiment_by_name(study)
    found = {
        (run.data.tags["wetakd.question"], run.data.tags["wetakd.uid"]): run
        for run in client(uri).search_runs([experiment.experiment_id])
    }
    assert sorted(found) == [("new", "study"), ("new", "trial:0"), ("old", "study")]
    old, new = found["old", "study"], found["new", "study"]
    assert (old.info.status, old.data.metrics, old.data.params) == ("KILLED", {"loss": 1.0}, {"num_seeds": "2"})
    assert (new.info.status, new.data.metrics, new.data.params) == ("FINISHED", {"loss": 0.5}, {"num_seeds": "3"})
    assert found["new", "trial:0"].data.tags["mlflow.parentRunId"] == new.info.run_id


def test_saying_it_again_costs_nothing(tracker: MlflowTracker, store: Store, study: str) -> None:
    tell(tracker)
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
    run = runs(uri, study)["study"]
    assert run.data.params == {"lr": "0.1", "epochs": "3", "new": "x"}
    assert run.data.tags["wetakd.changed_params"] == "lr"
    assert run.data.metrics == {"loss": 1.0}


def test_what_mlflow_refuses_does_not_hold_up_the_rest(
    tracker: MlflowTracker, study: str, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracker.start_run("study", name="s")
    tracker.start_run("trial:0", name="t", parent="study", params={"bad@name": 1})
    tracker.set_tags("study", {"bad@name": "x"})
    tracker.log_artifact("study", "../escape", b"x")
    tracker.log_metrics("study", {"loss": 1.0})
    tracker.start_run("trial:1", name="t", parent="study")
    assert tracker.flush(FLUSH_S)
    found = runs(uri, study)
    assert found["study"].data.metrics == {"loss": 1.0}
    assert len(found) == 3
    assert "MLflow refuses part of run study" in caplog.text


def test_a_run_that_somebody_deleted_is_passed_over(tracker: MlflowTracker, study: str, uri: str) -> None:
    tracker.start_run("study", name="s")
    tracker.start_run("trial:0", name="t", parent="study")
    assert tracker.flush(FLUSH_S)
    client(uri).delete_run(tracker.run_id("trial:0"))
    tracker.log_metrics("trial:0", {"loss": 1.0})
    tracker.log_metrics("study", {"loss": 2.0})
    assert tracker.flush(FLUSH_S)
    assert runs(uri, study)["study"].data.metrics == {"loss": 2.0}


def test_an_emptied_server_gets_the_whole_story_again(store: Store, study: str, uri: str) -> None:
    for _ in range(2):
        tracker = MlflowTracker(store, study, uri, study, "asked")
        tell(tracker)
        assert tracker.flush(FLUSH_S)
        tracker.stop()
        found = runs(uri, study)
        assert len(found) == 3
        assert len(curve(uri, found["trial:0"], "loss")) == 3
        for run in found.values():
            client(uri).delete_run(run.info.run_id)


def test_two_studies_of_one_name_have_runs_of_their_own(tmp_path: Path, study: str, uri: str) -> None:
    """Two users of one server; or one who deletes ./runs and starts again."""
    for folder in ("mine", "yours"):
        tracker = MlflowTracker(Store(str(tmp_path / folder)), study, uri, study, "asked")
        tell(tracker)
        tracker.set_tags("study", {"folder": folder})
        assert tracker.flush(FLUSH_S)
        tracker.stop()
    experiment = client(uri).get_experiment_by_name(study)
    found = client(uri).search_runs([experiment.experiment_id])
    assert len(found) == 2 * 3
    by_study: dict[str, list[Any]] = {}
    for run in found:
        by_study.setdefault(run.data.tags["wetakd.study_id"], []).append(run)
    assert set(by_study) == {study_id(Store(str(tmp_path / folder)), study) for folder in ("mine", "yours")}
    for runs_of_one in by_study.values():
        by_uid = {run.data.tags["wetakd.uid"]: run for run in runs_of_one}
        assert sorted(by_uid) == ["study", "trial:0", "trial:1"]
        assert by_uid["trial:0"].data.tags["mlflow.parentRunId"] == by_uid["study"].info.run_id
        assert len(curve(uri, by_uid["trial:0"], "loss")) == 3


def test_thousands_of_metrics_arrive(tracker: MlflowTracker, study: str, uri: str, store: Store) -> None:
    tracker.start_run("study", name="s")
    for step in range(1500):
        tracker.log_metrics("study", {"a": step / 7, "b": -step}, step=step)
    assert tracker.flush(FLUSH_S)
    run = runs(uri, study)["study"]
    assert curve(uri, run, "a") == [(step, step / 7) for step in range(1500)]
    assert len(store.list(f"studies/{study}/journal/segments")) <= 3


def test_a_run_must_be_opened_first(tracker: MlflowTracker) -> None:
    for say in (lambda: tracker.log_metrics("x", {"a": 1.0}), lambda: tracker.end_run("x", "FINISHED")):
        with pytest.raises(KeyError, match="never opened"):
            say()


# ------------------------------------------------------------------------------------------ a server that is away


def test_a_server_that_is_away_stops_nothing_and_loses_nothing(store: Store, study: str, uri: str) -> None:
    away = f"http://user:s3cr3t@127.0.0.1:{free_port()}"
    tracker = MlflowTracker(store, study, away, study, "asked")
    tell(tracker)
    begin = time.monotonic()
    while tracker.problem is None and time.monotonic() - begin < FLUSH_S:
        assert not tracker.flush(0.2)
    assert tracker.problem is not None
    assert "s3cr3t" not in tracker.problem
    assert "\n" not in tracker.problem
    assert tracker.num_unsent > 0
    assert tracker.run_id("study") is None
    tracker.stop()
    config = config_of(store, uri, study)
    assert send_journal(config, store, FLUSH_S)
    assert send_journal(config, store, FLUSH_S)
    found = runs(uri, study)
    assert len(found) == 3
    assert len(curve(uri, found["trial:1"], "loss")) == 3
    assert found["trial:1"].info.end_time < time.time() * 1000
    assert found["trial:1"].info.status == "FAILED"


def config_of(store: Store, uri: str | None, study: str, enabled: bool = True) -> Any:
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
    with open_tracker(config_of(store, "http://127.0.0.1:1", study, enabled=False), store) as tracker:
        assert isinstance(tracker, NullTracker)
        tell(tracker)
        tracker.log_model("study", "nowhere", name="student", description="", register_as=None)
        assert tracker.flush(0)
        assert tracker.run_id("study") is None
        assert tracker.problem is None
    assert store.list() == []


def test_a_driver_that_raises_still_sends_its_last_words(store: Store, study: str, uri: str) -> None:
    def drive() -> None:
        with open_tracker(config_of(store, uri, study), store) as tracker:
            tracker.start_run("study", name="s")
            tracker.flush(FLUSH_S)
            tracker.end_run("study", "KILLED")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive()
    assert runs(uri, study)["study"].info.status == "KILLED"


def test_tracking_does_not_import_mlflow() -> None:
    script = "import sys, wetakd.tracking; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# -------------------------------------------------------------------------------------------- credentials, the URI


def test_credentials_reach_neither_the_journal_nor_mlflow(
    tracker: MlflowTracker, store: Store, study: str, uri: str
) -> None:
    secret = "s3://AKIA1:s3cr3t@bucket/x?region=us-east-1"
    tracker.start_run("study", name="s", params={"data": secret, "files": [secret, "plain"]}, tags={"t": secret})
    tracker.set_tags("study", {"u": f"read from {secret}, then trained"})
    tracker.log_dataset("study", name="d", digest="d", source=secret, profile={})
    assert tracker.flush(FLUSH_S)
    run = runs(uri, study)["study"]
    assert run.data.params["data"] == "s3://bucket/x?region=us-east-1"
    written = "".join(Path(store.uri, path).read_text() for path in store.list()) + str(run.to_dictionary())
    assert "bucket/x" in written
    assert "s3cr3t" not in written
    assert "AKIA1" not in written
