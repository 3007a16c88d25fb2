"""Sends the events of the journal to MLflow, in order, from a daemon thread, as often as it takes.

Sending an event twice changes nothing: runs are found again by their tags, metrics carry the time at which they were
noted (MLflow's store ignores an identical one), models carry a digest. So after any failure the thread waits, looks
anew at what the server has, and goes on from the last acknowledged event. MLflow takes seconds to import, hence only
here, in the thread.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from wetakd.common.errors import UserError, first_line
from wetakd.common.redact import redact
from wetakd.storage.atomic_store import DamagedBlob, Store
from wetakd.storage.manifest import check_relative_path
from wetakd.storage.temporary_folders import temporary_folder
from wetakd.tracking.event_journal import Event, EventJournal
from wetakd.tracking.mlflow_client import (
    find_or_create_experiment,
    import_mlflow,
    is_final,
    new_client,
    silence_mlflow,
)
from wetakd.tracking.run_identity import QUESTION_TAG, STUDY_ID_TAG, STUDY_TAG, UID_TAG, run_key, split_run_key
from wetakd.tracking.tracking_uri import innermost_reason

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_ItemT = TypeVar("_ItemT")
log = logging.getLogger("wetakd.tracking")

_POLL_S, _LONGEST_WAIT_S = 0.5, 30.0
_EVENTS_A_BATCH, _METRICS_A_CALL, _PARAMS_A_CALL = 1000, 1000, 100


class MlflowSender:
    """Sends a journal to one experiment of one MLflow. Read `problem` for why it cannot, at the moment."""

    def __init__(self, journal: EventJournal, store: Store, study: str, tracking_uri: str, experiment: str) -> None:
        self._journal, self._study, self._uri, self._experiment = journal, study, tracking_uri, experiment
        self._store = store
        self._destination = hashlib.sha256(f"{redact(tracking_uri)}\n{experiment}".encode()).hexdigest()[:16]
        self._client: MlflowClient | None = None
        self.sent = self.sent_before = journal.acknowledged(self._destination)
        self.experiment_id: str | None = None
        self.run_ids: dict[str, str] = {}
        self.problem: str | None = None
        self._is_well = False
        self._refused: set[str] = set()
        self._known_steps: dict[tuple[str, str], set[int]] = {}
        self._created: set[str] = set()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._progress = threading.Condition()
        self._thread = threading.Thread(target=self._keep_sending, name="wetakd-mlflow", daemon=True)
        self._thread.start()

    def wait(self, until: int, timeout_s: float) -> bool:
        """Whether all events up to number `until` are at the server within the time."""
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._is_well and self.sent >= until, timeout_s)

    def stop(self) -> None:
        """End the thread after the call that it is in; what is not sent stays in the journal."""
        with self._progress:
            self._stop.set()
        self._wake.set()
        self._thread.join(timeout=2.0)

    # ------------------------------------------------------------------------------------------------ the thread

    def _keep_sending(self) -> None:
        delay_s = _POLL_S
        while not self._stop.is_set():
            try:
                self._send_journal()
                self._set_problem(None)
                delay_s = _POLL_S
            except Exception as error:  # whatever MLflow raises, the study goes on and the journal keeps
                self._client = None
                self._set_problem(redact(innermost_reason(error), self._uri))
                delay_s = min(2 * delay_s, _LONGEST_WAIT_S)
            self._wake.wait(delay_s)
            self._wake.clear()

    def _set_problem(self, problem: str | None) -> None:
        """Say a change once, and wake who waits for the end."""
        if problem and not self.problem:
            log.warning("MLflow at %s cannot be written, retrying: %s", redact(self._uri), problem)
        elif self.problem and not problem:
            log.warning("MLflow at %s answers again", redact(self._uri))
        with self._progress:
            self.problem, self._is_well = problem, problem is None
            self._progress.notify_all()

    def _send_journal(self) -> None:
        if self._client is None:
            self._connect()
        while self._journal.durable > self.sent and not self._stop.is_set():
            batch = list(itertools.islice(self._journal.read(after=self.sent), _EVENTS_A_BATCH))
            if not batch:  # the segment was torn: those events are gone
                batch_end = self._journal.durable
            else:
                self._send_events(batch)
                batch_end = batch[-1].seq
            self._journal.acknowledge(self._destination, batch_end)
            self.sent = batch_end

    def _connect(self) -> None:
        """Experiment, and the runs of this study that are there already."""
        import_mlflow()
        with self._progress:
            if self._stop.is_set():  # the run is over: leave the loggers of this process alone
                return
            silence_mlflow()
        client = new_client(self._uri)
        self.experiment_id = find_or_create_experiment(client, self._experiment, self._uri)
        self.run_ids = self._find_runs(client)
        if not self.run_ids:
            self.sent = 0  # nothing of us is here (a new or emptied server), whatever was acknowledged
        self._client = client

    def _find_runs(self, client: MlflowClient) -> dict[str, str]:
        found: dict[str, str] = {}
        token = None
        while True:
            page = client.search_runs(
                [str(self.experiment_id)],
                filter_string=f"tags.`{STUDY_ID_TAG}` = '{self._journal.study_id}'",
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                tags = run.data.tags
                found.setdefault(run_key(str(tags.get(UID_TAG)), str(tags.get(QUESTION_TAG))), run.info.run_id)
            token = page.token
            if not token:
                return found

    def _send_events(self, events: Iterable[Event]) -> None:
        """Send `events`; the order holds within each run, and metrics of a run travel together."""
        waiting: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            if event.kind == "metrics":
                waiting[event.uid].append(event)
                continue
            self._send_metrics(event.uid, waiting.pop(event.uid, []))
            self._send_or_skip(event.uid, partial(_SENDERS[event.kind], self), event)
        for uid, metrics in waiting.items():
            self._send_metrics(uid, metrics)

    def _send_metrics(self, uid: str, events: list[Event]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(key, float(value), event.ms, event.data["step"])
            for event in events
            for key, value in event.data["values"].items()
        ]
        for begin in range(0, len(metrics), _METRICS_A_CALL):
            self._send_or_skip(uid, partial(self._log_metrics, uid), metrics[begin : begin + _METRICS_A_CALL])

    def _log_metrics(self, uid: str, metrics: list[Metric]) -> None:
        if self._journal.lost:  # what was lost there is said again, at another time, and would stand twice
            metrics = [metric for metric in metrics if metric.step not in self._steps_at_server(uid, metric.key)]
        self._mlflow.log_batch(self._run_id(uid), metrics=metrics, synchronous=True)

    def _steps_at_server(self, uid: str, key: str) -> set[int]:
        """Steps of a metric that the server had when it was first asked; of a run that we made just now, none."""
        if uid in self._created:
            return set()
        if (uid, key) not in self._known_steps:
            history = self._mlflow.get_metric_history(self._run_id(uid), key)
            self._known_steps[uid, key] = {metric.step for metric in history}
        return self._known_steps[uid, key]

    def _send_or_skip(self, uid: str, send: Callable[[_ItemT], None], item: _ItemT) -> None:
        """Send it, and pass over what can never be sent: one bad value must not hold up the rest."""
        from mlflow.exceptions import MlflowException

        try:
            send(item)
        except (MlflowException, DamagedBlob, UserError, _RunMissing) as error:
            if isinstance(error, MlflowException) and not is_final(error, self._uri):
                raise
            if uid not in self._refused:
                self._refused.add(uid)
                log.warning(
                    "MLflow refuses part of run %s: %s", split_run_key(uid)[0], redact(first_line(error), self._uri)
                )

    @property
    def _mlflow(self) -> MlflowClient:
        assert self._client is not None
        return self._client

    def _run_id(self, uid: str) -> str:
        if uid not in self.run_ids:
            raise _RunMissing(f"run {uid!r} is not at the server")
        return self.run_ids[uid]

    # ---------------------------------------------------------------------------------------------- the events

    def _start_run(self, event: Event) -> None:
        from mlflow.entities import Param, RunTag

        tags, params = dict(event.data["tags"]), dict(event.data["params"])
        if event.uid in self.run_ids:
            self._mlflow.update_run(self._run_id(event.uid), status="RUNNING")
        else:
            self.run_ids[event.uid] = self._create_run(event)
            self._created.add(event.uid)
        run_id = self._run_id(event.uid)
        if tags:
            self._mlflow.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()], synchronous=True)
        entries = [Param(*param) for param in params.items()]
        for begin in range(0, len(entries), _PARAMS_A_CALL):
            self._mlflow.log_batch(run_id, params=entries[begin : begin + _PARAMS_A_CALL], synchronous=True)

    def _create_run(self, event: Event) -> str:
        uid, question = split_run_key(event.uid)
        tags = {UID_TAG: uid, QUESTION_TAG: question, STUDY_TAG: self._study, STUDY_ID_TAG: self._journal.study_id}
        tags["mlflow.source.name"] = "wetakd"
        parent = self.run_ids.get(event.data["parent"] or "")
        if parent:
            tags["mlflow.parentRunId"] = parent
        run = self._mlflow.create_run(
            str(self.experiment_id), start_time=event.ms, tags=tags, run_name=event.data["name"]
        )
        return str(run.info.run_id)

    def _set_tags(self, event: Event) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(*tag) for tag in event.data["tags"].items()]
        self._mlflow.log_batch(self._run_id(event.uid), tags=tags, synchronous=True)

    def _log_dataset(self, event: Event) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = event.data
        source, profile = json.dumps({"uri": data["source"]}), json.dumps(data["profile"])
        dataset = Dataset(data["name"], data["digest"], "local", source, profile=profile)
        tag = InputTag("mlflow.data.context", "training")
        self._mlflow.log_inputs(self._run_id(event.uid), [DatasetInput(dataset, [tag])])

    def _log_artifact(self, event: Event) -> None:
        path = PurePosixPath(check_relative_path(event.data["path"]))
        parent = str(path.parent) if path.parent.name else None
        with temporary_folder(self._store, self._study) as folder:
            file = folder / path.name
            file.write_bytes(self._journal.blob(event.data["blob"]))
            self._mlflow.log_artifact(self._run_id(event.uid), str(file), parent)

    def _log_model(self, event: Event) -> None:
        from wetakd.tracking.mlflow_model import send_model

        with temporary_folder(self._store, self._study) as folder:
            for path, blob in event.data["files"].items():
                file = folder / check_relative_path(path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self._journal.blob(blob))
            send_model(
                self._mlflow,
                folder,
                experiment_id=str(self.experiment_id),
                run_id=self._run_id(event.uid),
                name=event.data["name"],
                digest=event.data["digest"],
                description=event.data.get("description", ""),
                register_as=event.data["register_as"],
            )

    def _end_run(self, event: Event) -> None:
        self._mlflow.set_terminated(self._run_id(event.uid), event.data["status"], end_time=event.ms)


_SENDERS: dict[str, Callable[[MlflowSender, Event], None]] = {
    "open": MlflowSender._start_run,
    "tags": MlflowSender._set_tags,
    "dataset": MlflowSender._log_dataset,
    "artifact": MlflowSender._log_artifact,
    "model": MlflowSender._log_model,
    "close": MlflowSender._end_run,
}


class _RunMissing(LookupError):
    """An event of a run that could not be created."""
