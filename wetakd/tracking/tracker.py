"""What a study tells MLflow, said once: the journal first, MLflow whenever it answers.

A run is known by a `uid` of ours (`study`, `network:...`, `trial:...`) and the question that the study asked: a revised
study has runs of its own. Saying the same thing again changes nothing, across drivers too: what was said stands in the
journal. Only the driver speaks; nothing here imports MLflow.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from wetakd.common.redact import redact_line, redact_uris
from wetakd.config import StudyConfig
from wetakd.storage.store import Store
from wetakd.tracking.event_journal import Event, Journal
from wetakd.tracking.mlflow_writer import MlflowWriter, asked_by
from wetakd.tracking.tracking_uri import check_tracking_uri, tracking_uri_of

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
CHANGED_TAG = "wetakd.changed_params"
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_LONGEST_PARAM, _LONGEST_TAG, _LONGEST_DIGEST = 6000, 8000, 36
# Ray ends a stopped job after 3 s. Who is not in such a hurry has hundreds of runs closed, if the server keeps up.
_LAST_WORDS_S, _MORE_WORDS_S = 2.0, 60.0

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Where a study's runs are shown. No call waits for a server, and none fails because of one."""

    def open(
        self,
        uid: str,
        *,
        name: str,
        parent: str | None = None,
        params: Mapping[str, Any] = _NOTHING,
        tags: Mapping[str, str] = _NOTHING,
    ) -> None:
        """Begin a run, or go on with it. A param that was said with another value keeps the first, and is tagged."""

    def metrics(self, uid: str, values: Mapping[str, float], step: int = 0) -> None:
        """Note numbers at a step >= 0; the first value of each (uid, key, step) stands."""

    def tags(self, uid: str, tags: Mapping[str, str]) -> None:
        """Set tags; a new value replaces the old."""

    def dataset(self, uid: str, *, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """The data set that a run uses, shown as its input."""

    def artifact(self, uid: str, path: str, data: bytes) -> None:
        """A file of the run, at `path` such as `tables/trials.csv`; new content replaces the old."""

    def model(self, uid: str, folder: str, *, name: str, description: str, register_as: str | None) -> None:
        """A local MLflow model folder (`save_model` wrote it) as an output of the run; maybe a registered version.

        `description` is Markdown for the model's page.
        """

    def close(self, uid: str, status: Status) -> None:
        """The run is over, until it is opened again; numbers and tags may still follow."""

    def next_step(self, uid: str, key: str) -> int:
        """One past the last step that was noted of a metric, by whichever driver; 0 before the first."""

    def flush(self, timeout_s: float) -> bool:
        """Whether everything said is at the server within the time."""

    def run_id(self, uid: str) -> str | None:
        """The server's id of the run, once known."""

    @property
    def experiment_id(self) -> str | None:
        """The server's id of the experiment, once known."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be sent at the moment, in one line; None while all is well."""

    def has_ended(self, uid: str) -> bool:
        """Whether the run was closed by a study that came to its end, and nothing was lost that no server has."""

    def stop(self) -> None:
        """Make all that was said durable and end the threads; say nothing afterwards."""


class NullTracker:
    """Shows nothing, so that callers never branch."""

    experiment_id: str | None = None
    problem: str | None = None

    def _say_nothing(self, *_: Any, **__: Any) -> None:
        pass

    open = metrics = tags = dataset = artifact = model = close = stop = _say_nothing

    def next_step(self, uid: str, key: str) -> int:
        """0: no metric was noted."""
        return 0

    def has_ended(self, uid: str) -> bool:
        """True: there is nothing to say again."""
        return True

    def flush(self, timeout_s: float) -> bool:
        """True: nothing is all there is."""
        return True

    def run_id(self, uid: str) -> str | None:
        """None: there are no runs."""
        return None


@dataclass
class _Said:
    """What the journal says of one run. Steps are bits of one number: a thousand curves stay small."""

    status: Status | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    things: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)

    def hear(self, event: Event) -> None:
        """Take note of one event."""
        data = event.data
        if event.kind == "metrics":
            for key in data["values"]:
                self.steps[key] = self.steps.get(key, 0) | 1 << data["step"]
        elif event.kind == "artifact":
            self.files[data["path"]] = data["blob"]
        elif event.kind in ("dataset", "model"):
            self.things.add(_event_identity(event.kind, data))
        elif event.kind == "close":
            self.status = data["status"]
        else:
            if event.kind == "open":
                self.status = "RUNNING"
            self.params |= data.get("params", {})
            self.tags |= data.get("tags", {})


class MlflowTracker:
    """Keeps what is said in the journal of a study, and has it sent to MLflow by one thread."""

    def __init__(self, store: Store, study: str, tracking_uri: str, experiment: str, question: str) -> None:
        """`question`: `StudyConfig.question`. What another one left running is over."""
        self._storage_uri = store.uri
        self._question = question
        self._journal = Journal(store, study)
        self._lock = threading.Lock()
        self._said: dict[str, _Said] = {}
        for event in self._journal.read():
            self._said.setdefault(event.uid, _Said()).hear(event)
        for asked, said in self._said.items():
            if said.status == "RUNNING" and asked_by(asked)[1] != question:
                said.hear(self._journal.append("close", asked, {"status": "KILLED"}))
        self._writer = MlflowWriter(self._journal, store, study, tracking_uri, experiment)
        self._has_all = max(self._journal.lost, default=0) <= self._writer.sent_before

    def open(
        self,
        uid: str,
        *,
        name: str,
        parent: str | None = None,
        params: Mapping[str, Any] = _NOTHING,
        tags: Mapping[str, str] = _NOTHING,
    ) -> None:
        """Begin a run, or go on with it. A param that was said with another value keeps the first, and is tagged."""
        texts = {key: _text(value, _LONGEST_PARAM) for key, value in params.items()}
        above = None if parent is None else self._asked(parent)
        with self._lock:
            said = self._said.setdefault(self._asked(uid), _Said())
            changed = sorted(key for key, text in texts.items() if said.params.get(key, text) != text)
            fresh = {key: text for key, text in texts.items() if key not in said.params}
            wanted = dict(tags) | ({CHANGED_TAG: ", ".join(changed)} if changed else {})
            new_tags = _new(wanted, said.tags)
            if fresh or new_tags or said.status != "RUNNING":
                self._note("open", uid, {"name": name, "parent": above, "params": fresh, "tags": new_tags})

    def metrics(self, uid: str, values: Mapping[str, float], step: int = 0) -> None:
        """Note numbers at a step >= 0; the first value of each (uid, key, step) stands."""
        with self._lock:
            steps = self._run(uid).steps
            new = {key: float(value) for key, value in values.items() if not steps.get(key, 0) >> step & 1}
            if new:
                self._note("metrics", uid, {"values": new, "step": step})

    def next_step(self, uid: str, key: str) -> int:
        """One past the last step that was noted of a metric, by whichever driver; 0 before the first."""
        with self._lock:
            return self._run(uid).steps.get(key, 0).bit_length()

    def tags(self, uid: str, tags: Mapping[str, str]) -> None:
        """Set tags; a new value replaces the old."""
        with self._lock:
            if new := _new(tags, self._run(uid).tags):
                self._note("tags", uid, {"tags": new})

    def dataset(self, uid: str, *, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """The data set that a run uses, shown as its input."""
        short = digest[:_LONGEST_DIGEST]
        data = {"name": name, "digest": short, "source": redact_uris(source), "profile": dict(profile)}
        self._note_once("dataset", uid, data)

    def artifact(self, uid: str, path: str, data: bytes) -> None:
        """A file of the run, at `path` such as `tables/trials.csv`; new content replaces the old."""
        blob = hashlib.sha256(data).hexdigest()
        with self._lock:
            if self._run(uid).files.get(path) != blob:
                self._note("artifact", uid, {"path": path, "blob": self._journal.put_blob(data)})

    def model(self, uid: str, folder: str, *, name: str, description: str, register_as: str | None) -> None:
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
        self._note_once("model", uid, data | {"description": _text(description, _LONGEST_TAG)})

    def close(self, uid: str, status: Status) -> None:
        """The run is over, until it is opened again; numbers and tags may still follow."""
        with self._lock:
            if self._run(uid).status != status:
                self._note("close", uid, {"status": status})

    def has_ended(self, uid: str) -> bool:
        """Whether the run was closed by a study that came to its end, and nothing was lost that no server has."""
        said = self._said.get(self._asked(uid), _Said())
        return said.status in ("FINISHED", "FAILED") and self._has_all

    def flush(self, timeout_s: float) -> bool:
        """Whether everything said is at the server within the time."""
        try:
            self._journal.flush()
        except OSError as error:
            log.warning("the journal cannot be written: %s", redact_line(str(error), self._storage_uri))
            return False
        return self._writer.wait(self._journal.last, timeout_s)

    def run_id(self, uid: str) -> str | None:
        """The server's id of the run, once known."""
        return self._writer.run_ids.get(self._asked(uid))

    @property
    def experiment_id(self) -> str | None:
        """The server's id of the experiment, once known."""
        return self._writer.experiment_id

    @property
    def problem(self) -> str | None:
        """Why nothing can be sent at the moment, in one line; None while all is well."""
        return self._writer.problem

    @property
    def num_unsent(self) -> int:
        """Events that the server does not have yet."""
        return self._journal.last - self._writer.sent

    def stop(self) -> None:
        """Make all that was said durable and end the threads; say nothing afterwards."""
        try:
            self._journal.close()
        except OSError as error:
            log.warning("the journal cannot be written: %s", redact_line(str(error), self._storage_uri))
        self._writer.stop()

    def _asked(self, uid: str) -> str:
        return f"{uid}@{self._question}"

    def _run(self, uid: str) -> _Said:
        if self._asked(uid) not in self._said:
            raise KeyError(f"run {uid!r} was never opened")
        return self._said[self._asked(uid)]

    def _note_once(self, kind: str, uid: str, data: Mapping[str, Any]) -> None:
        with self._lock:
            if _event_identity(kind, data) not in self._run(uid).things:
                self._note(kind, uid, data)

    def _note(self, kind: str, uid: str, data: Mapping[str, Any]) -> None:
        self._run(uid).hear(self._journal.append(kind, self._asked(uid), data))


@contextmanager
def connected(config: StudyConfig, store: Store) -> Iterator[Tracker]:
    """The tracker that `config` asks for; raises UserError where its MLflow does not answer."""
    if not config.mlflow.enabled:
        yield NullTracker()
        return
    tracking_uri = tracking_uri_of(config.mlflow.tracking_uri, store)
    check_tracking_uri(tracking_uri)
    tracker = MlflowTracker(store, config.study.name, tracking_uri, config.mlflow.experiment, config.question)
    try:
        yield tracker
    except BaseException:
        if not tracker.flush(_LAST_WORDS_S) and tracker.problem is None:
            tracker.flush(_MORE_WORDS_S)
        raise
    else:
        tracker.flush(_LAST_WORDS_S)
    finally:
        tracker.stop()


def sync(config: StudyConfig, store: Store, timeout_s: float) -> bool:
    """Send what MLflow still lacks of a study; whether all of it is there now."""
    with connected(config, store) as tracker:
        return tracker.flush(timeout_s)


def _event_identity(kind: str, data: Mapping[str, Any]) -> str:
    return f"{kind}:{data['name']}:{data['digest']}:{data.get('register_as')}"


def _new(tags: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
    texts = {key: _text(value, _LONGEST_TAG) for key, value in tags.items()}
    return {key: text for key, text in texts.items() if said.get(key) != text}


def _text(value: Any, longest: int) -> str:
    return redact_uris(str(value))[:longest]
