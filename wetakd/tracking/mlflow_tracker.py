"""The tracker that sends to MLflow: the journal first, MLflow whenever it answers.

A run is known by a `uid` of ours (`study`, `network:...`, `trial:...`) and the question that the study asked: a revised
study has runs of its own. Logging the same thing again changes nothing, across drivers too: what was logged is in the
journal. Only the driver logs; nothing here imports MLflow.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wetakd.common.errors import first_line
from wetakd.common.redact import redact
from wetakd.config import StudyConfig
from wetakd.storage.atomic_store import Store
from wetakd.tracking.event_journal import EventJournal
from wetakd.tracking.mlflow_sender import MlflowSender
from wetakd.tracking.run_identity import CHANGED_TAG, run_key, split_run_key
from wetakd.tracking.run_state import RunState
from wetakd.tracking.tracker import NO_ENTRIES, NullTracker, Status, Tracker
from wetakd.tracking.tracking_uri import check_tracking_uri, resolve_tracking_uri

_LONGEST_PARAM, _LONGEST_TAG, _LONGEST_DIGEST = 6000, 8000, 36
# Ray ends a stopped job after 3 s. Who is not in such a hurry has hundreds of runs closed, if the server keeps up.
_FLUSH_AT_END_S, _LONGER_FLUSH_AT_END_S = 2.0, 60.0

log = logging.getLogger(__name__)


class MlflowTracker:
    """Keeps what is logged in the journal of a study, and has it sent to MLflow by one thread."""

    def __init__(self, store: Store, study: str, tracking_uri: str, experiment: str, question: str) -> None:
        """`question`: `StudyConfig.question`. What another one left running is over."""
        self._storage_uri = store.uri
        self._question = question
        self._journal = EventJournal(store, study)
        self._lock = threading.Lock()
        self._states: dict[str, RunState] = {}
        for event in self._journal.read():
            self._states.setdefault(event.uid, RunState()).apply(event)
        for key, state in self._states.items():
            if state.status == "RUNNING" and split_run_key(key)[1] != question:
                state.apply(self._journal.append("close", key, {"status": "KILLED"}))
        self._sender = MlflowSender(self._journal, store, study, tracking_uri, experiment)
        self._has_all = max(self._journal.lost, default=0) <= self._sender.sent_before

    def start_run(
        self,
        uid: str,
        *,
        name: str,
        parent: str | None = None,
        params: Mapping[str, Any] = NO_ENTRIES,
        tags: Mapping[str, str] = NO_ENTRIES,
    ) -> None:
        """Begin a run, or go on with it. A param that was logged with another value keeps the first, and is tagged."""
        texts = {key: _short_text(value, _LONGEST_PARAM) for key, value in params.items()}
        above = None if parent is None else self._key(parent)
        with self._lock:
            state = self._states.setdefault(self._key(uid), RunState())
            changed = sorted(key for key, text in texts.items() if state.params.get(key, text) != text)
            fresh = {key: text for key, text in texts.items() if key not in state.params}
            wanted = dict(tags) | ({CHANGED_TAG: ", ".join(changed)} if changed else {})
            new_tags = _changed(wanted, state.tags)
            if fresh or new_tags or state.status != "RUNNING":
                self._append("open", uid, {"name": name, "parent": above, "params": fresh, "tags": new_tags})

    def log_metrics(self, uid: str, values: Mapping[str, float], step: int = 0) -> None:
        """Note numbers at a step >= 0; the first value of each (uid, key, step) stands."""
        with self._lock:
            steps = self._state(uid).steps
            new = {key: float(value) for key, value in values.items() if not steps.get(key, 0) >> step & 1}
            if new:
                self._append("metrics", uid, {"values": new, "step": step})

    def next_step(self, uid: str, key: str) -> int:
        """One past the last step that was noted of a metric, by whichever driver; 0 before the first."""
        with self._lock:
            return self._state(uid).steps.get(key, 0).bit_length()

    def set_tags(self, uid: str, tags: Mapping[str, str]) -> None:
        """Set tags; a new value replaces the old."""
        with self._lock:
            if new := _changed(tags, self._state(uid).tags):
                self._append("tags", uid, {"tags": new})

    def log_dataset(self, uid: str, *, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """The data set that a run uses, shown as its input."""
        short = digest[:_LONGEST_DIGEST]
        data = {"name": name, "digest": short, "source": redact(source), "profile": dict(profile)}
        self._append_once("dataset", uid, data)

    def log_artifact(self, uid: str, path: str, data: bytes) -> None:
        """A file of the run, at `path` such as `tables/trials.csv`; new content replaces the old."""
        blob = hashlib.sha256(data).hexdigest()
        with self._lock:
            if self._state(uid).files.get(path) != blob:
                self._append("artifact", uid, {"path": path, "blob": self._journal.put_blob(data)})

    def log_model(self, uid: str, folder: str, *, name: str, description: str, register_as: str | None) -> None:
        """A local MLflow model folder (`save_model` wrote it) as an output of the run; maybe a registered version.

        `description` is Markdown for the model's page.
        """
        root = Path(folder)
        files = {
            file.relative_to(root).as_posix(): self._journal.put_blob(file.read_bytes())
            for file in sorted(root.rglob("*"))
            if file.is_file()
        }
        digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:32]
        data = {"name": name, "digest": digest, "files": files, "register_as": register_as}
        self._append_once("model", uid, data | {"description": _short_text(description, _LONGEST_TAG)})

    def end_run(self, uid: str, status: Status) -> None:
        """The run is over, until it is opened again; numbers and tags may still follow."""
        with self._lock:
            if self._state(uid).status != status:
                self._append("close", uid, {"status": status})

    def has_ended(self, uid: str) -> bool:
        """Whether the run was closed by a study that came to its end, and nothing was lost that no server has."""
        state = self._states.get(self._key(uid), RunState())
        return state.status in ("FINISHED", "FAILED") and self._has_all

    def flush(self, timeout_s: float) -> bool:
        """Whether everything logged is at the server within the time."""
        try:
            self._journal.flush()
        except OSError as error:
            log.warning("the journal cannot be written: %s", redact(first_line(error), self._storage_uri))
            return False
        return self._sender.wait(self._journal.last, timeout_s)

    def run_id(self, uid: str) -> str | None:
        """The server's id of the run, once known."""
        return self._sender.run_ids.get(self._key(uid))

    @property
    def experiment_id(self) -> str | None:
        """The server's id of the experiment, once known."""
        return self._sender.experiment_id

    @property
    def problem(self) -> str | None:
        """Why nothing can be sent at the moment, in one line; None while all is well."""
        return self._sender.problem

    @property
    def num_unsent(self) -> int:
        """Events that the server does not have yet."""
        return self._journal.last - self._sender.sent

    def stop(self) -> None:
        """Make all that was logged durable and end the threads; log nothing afterwards."""
        try:
            self._journal.close()
        except OSError as error:
            log.warning("the journal cannot be written: %s", redact(first_line(error), self._storage_uri))
        self._sender.stop()

    def _key(self, uid: str) -> str:
        return run_key(uid, self._question)

    def _state(self, uid: str) -> RunState:
        if self._key(uid) not in self._states:
            raise KeyError(f"run {uid!r} was never opened")
        return self._states[self._key(uid)]

    def _append_once(self, kind: str, uid: str, data: Mapping[str, Any]) -> None:
        with self._lock:
            if not self._state(uid).has(kind, data):
                self._append(kind, uid, data)

    def _append(self, kind: str, uid: str, data: Mapping[str, Any]) -> None:
        self._state(uid).apply(self._journal.append(kind, self._key(uid), data))


@contextmanager
def open_tracker(config: StudyConfig, store: Store) -> Iterator[Tracker]:
    """The tracker that `config` asks for; raises UserError where its MLflow does not answer."""
    if not config.mlflow.enabled:
        yield NullTracker()
        return
    tracking_uri = resolve_tracking_uri(config.mlflow.tracking_uri, store)
    check_tracking_uri(tracking_uri)
    tracker = MlflowTracker(store, config.study.name, tracking_uri, config.mlflow.experiment, config.question)
    try:
        yield tracker
    except BaseException:
        if not tracker.flush(_FLUSH_AT_END_S) and tracker.problem is None:
            tracker.flush(_LONGER_FLUSH_AT_END_S)
        raise
    else:
        tracker.flush(_FLUSH_AT_END_S)
    finally:
        tracker.stop()


def send_journal(config: StudyConfig, store: Store, timeout_s: float) -> bool:
    """Send what MLflow still lacks of a study; whether all of it is there now."""
    with open_tracker(config, store) as tracker:
        return tracker.flush(timeout_s)


def _changed(tags: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    texts = {key: _short_text(value, _LONGEST_TAG) for key, value in tags.items()}
    return {key: text for key, text in texts.items() if known.get(key) != text}


def _short_text(value: Any, longest: int) -> str:
    return redact(str(value))[:longest]
