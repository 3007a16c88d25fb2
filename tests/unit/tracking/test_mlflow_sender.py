"""Sending to a real SQLite store: every run and number is there, once, whatever was lost or sent twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.unit.tracking.mlflow_runs import FLUSH_S, log_small_study, metric_history, mlflow_client, runs_by_uid
from wetakd.storage.atomic_store import Store
from wetakd.tracking.event_journal import study_id
from wetakd.tracking.mlflow_tracker import MlflowTracker


def forget_what_was_sent(store: Store, study: str) -> None:
    for path in store.list(f"studies/{study}/journal"):
        if "/sent-" in path:
            store.delete(path)


def test_the_journal_sent_twice_doubles_nothing(store: Store, study: str, uri: str) -> None:
    for _ in range(3):
        forget_what_was_sent(store, study)
        tracker = MlflowTracker(store, study, uri, study, "asked")
        log_small_study(tracker)
        tracker.log_metrics("study", {"nan": float("nan"), "inf": float("inf"), "small": 5e-324}, step=1)
        assert tracker.flush(FLUSH_S)
        tracker.stop()
    found = runs_by_uid(uri, study)
    assert sorted(found) == ["study", "trial:0", "trial:1"]
    for uid in ("trial:0", "trial:1"):
        assert [step for step, _ in metric_history(uri, found[uid], "loss")] == [1, 2, 3]
    assert all(len(metric_history(uri, found["study"], key)) == 1 for key in ("nan", "inf", "small"))
    assert [found[uid].info.status for uid in sorted(found)] == ["FINISHED", "FINISHED", "FAILED"]
    assert len(found["study"].inputs.dataset_inputs) == 1


def test_what_a_damaged_journal_makes_us_say_again_stands_once(store: Store, study: str, uri: str) -> None:
    for _ in range(2):
        tracker = MlflowTracker(store, study, uri, study, "asked")
        log_small_study(tracker)
        tracker.log_metrics("trial:0", {"loss": 9.0}, step=4)
        assert tracker.flush(FLUSH_S)
        tracker.stop()
        for path in store.list(f"studies/{study}/journal"):
            if "/segments/" in path or path.endswith("/id"):
                store.delete(path)
    found = runs_by_uid(uri, study)
    assert sorted(found) == ["study", "trial:0", "trial:1"]
    assert [step for step, _ in metric_history(uri, found["trial:0"], "loss")] == [1, 2, 3, 4]
    assert [found[uid].info.status for uid in sorted(found)] == ["FINISHED", "FINISHED", "FAILED"]


@pytest.mark.parametrize("num_lost", [1, 5, 100])
def test_what_was_lost_before_it_was_sent_is_said_again(store: Store, study: str, uri: str, num_lost: int) -> None:
    first = MlflowTracker(store, study, f"http://127.0.0.1:{free_port()}", study, "asked")
    assert not first.has_ended("study")
    log_small_study(first)
    assert first.has_ended("study")
    first.stop()
    (segment,) = store.list(f"studies/{study}/journal/segments")
    lines = (store.read_file(segment) or b"").splitlines(keepends=True)
    store.write(segment, b"".join(lines[:-num_lost]))
    second = MlflowTracker(store, study, uri, study, "asked")
    assert not second.has_ended("study")
    log_small_study(second)
    assert second.flush(FLUSH_S)
    second.stop()
    found = runs_by_uid(uri, study)
    assert [found[uid].info.status for uid in ("study", "trial:0", "trial:1")] == ["FINISHED", "FINISHED", "FAILED"]
    assert [step for step, _ in metric_history(uri, found["trial:1"], "loss")] == [1, 2, 3]


def test_a_gap_that_no_server_saw_is_no_end(store: Store, study: str, uri: str) -> None:
    tracker = MlflowTracker(store, study, f"http://127.0.0.1:{free_port()}", study, "asked")
    log_small_study(tracker)
    tracker.stop()
    (segment,) = store.list(f"studies/{study}/journal/segments")
    store.write(segment, (store.read_file(segment) or b"").replace(b'"loss', b'"lost', 1))
    for has_ended in (False, True):
        tracker = MlflowTracker(store, study, uri, study, "asked")
        assert tracker.has_ended("study") is has_ended
        log_small_study(tracker)
        assert tracker.flush(FLUSH_S)
        tracker.stop()
    assert sorted(step for step, _ in metric_history(uri, runs_by_uid(uri, study)["trial:0"], "loss")) == [1, 2, 3]


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
    found = runs_by_uid(uri, study)
    assert found["study"].data.metrics == {"loss": 1.0}
    assert len(found) == 3
    assert "MLflow refuses part of run study" in caplog.text


def test_a_run_that_somebody_deleted_is_passed_over(tracker: MlflowTracker, study: str, uri: str) -> None:
    tracker.start_run("study", name="s")
    tracker.start_run("trial:0", name="t", parent="study")
    assert tracker.flush(FLUSH_S)
    mlflow_client(uri).delete_run(tracker.run_id("trial:0"))
    tracker.log_metrics("trial:0", {"loss": 1.0})
    tracker.log_metrics("study", {"loss": 2.0})
    assert tracker.flush(FLUSH_S)
    assert runs_by_uid(uri, study)["study"].data.metrics == {"loss": 2.0}


def test_an_emptied_server_gets_the_whole_story_again(store: Store, study: str, uri: str) -> None:
    for _ in range(2):
        tracker = MlflowTracker(store, study, uri, study, "asked")
        log_small_study(tracker)
        assert tracker.flush(FLUSH_S)
        tracker.stop()
        found = runs_by_uid(uri, study)
        assert len(found) == 3
        assert len(metric_history(uri, found["trial:0"], "loss")) == 3
        for run in found.values():
            mlflow_client(uri).delete_run(run.info.run_id)


def test_two_studies_of_one_name_have_runs_of_their_own(tmp_path: Path, study: str, uri: str) -> None:
    """Two users of one server; or one who deletes ./runs and starts again."""
    for folder in ("mine", "yours"):
        tracker = MlflowTracker(Store(str(tmp_path / folder)), study, uri, study, "asked")
        log_small_study(tracker)
        tracker.set_tags("study", {"folder": folder})
        assert tracker.flush(FLUSH_S)
        tracker.stop()
    experiment = mlflow_client(uri).get_experiment_by_name(study)
    found = mlflow_client(uri).search_runs([experiment.experiment_id])
    assert len(found) == 2 * 3
    by_study: dict[str, list[Any]] = {}
    for run in found:
        by_study.setdefault(run.data.tags["wetakd.study_id"], []).append(run)
    assert set(by_study) == {study_id(Store(str(tmp_path / folder)), study) for folder in ("mine", "yours")}
    for runs_of_one in by_study.values():
        by_uid = {run.data.tags["wetakd.uid"]: run for run in runs_of_one}
        assert sorted(by_uid) == ["study", "trial:0", "trial:1"]
        assert by_uid["trial:0"].data.tags["mlflow.parentRunId"] == by_uid["study"].info.run_id
        assert len(metric_history(uri, by_uid["trial:0"], "loss")) == 3


def test_thousands_of_metrics_arrive(tracker: MlflowTracker, study: str, uri: str, store: Store) -> None:
    tracker.start_run("study", name="s")
    for step in range(1500):
        tracker.log_metrics("study", {"a": step / 7, "b": -step}, step=step)
    assert tracker.flush(FLUSH_S)
    run = runs_by_uid(uri, study)["study"]
    assert metric_history(uri, run, "a") == [(step, step / 7) for step in range(1500)]
    assert len(store.list(f"studies/{study}/journal/segments")) <= 3
