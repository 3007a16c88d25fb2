"""Logs a small study, and reads its runs back from MLflow."""

from __future__ import annotations

from typing import Any

from wetakd.tracking.tracker import Tracker

FLUSH_S = 60.0


def log_small_study(tracker: Tracker, num_epochs: int = 3, num_trials: int = 2) -> None:
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


def mlflow_client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs_by_uid(uri: str, study: str) -> dict[str, Any]:
    """Runs by uid; fails where two have the same."""
    mlflow = mlflow_client(uri)
    experiment = mlflow.get_experiment_by_name(study)
    found = mlflow.search_runs([experiment.experiment_id]) if experiment else []
    by_uid = {run.data.tags["wetakd.uid"]: run for run in found}
    assert len(by_uid) == len(found), "a run is doubled"
    return by_uid


def metric_history(uri: str, run: Any, key: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in mlflow_client(uri).get_metric_history(run.info.run_id, key)]
