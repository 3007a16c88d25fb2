"""What a study calls to log its runs: the interface `Tracker`, and `NullTracker`, which logs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
NO_ENTRIES: Mapping[str, Any] = MappingProxyType({})


class Tracker(Protocol):
    """Where a study's runs are shown. No call waits for a server, and none fails because of one."""

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

    def log_metrics(self, uid: str, values: Mapping[str, float], step: int = 0) -> None:
        """Note numbers at a step >= 0; the first value of each (uid, key, step) stands."""

    def set_tags(self, uid: str, tags: Mapping[str, str]) -> None:
        """Set tags; a new value replaces the old."""

    def log_dataset(self, uid: str, *, name: str, digest: str, source: str, profile: Mapping[str, Any]) -> None:
        """The data set that a run uses, shown as its input."""

    def log_artifact(self, uid: str, path: str, data: bytes) -> None:
        """A file of the run, at `path` such as `tables/trials.csv`; new content replaces the old."""

    def log_model(self, uid: str, folder: str, *, name: str, description: str, register_as: str | None) -> None:
        """A local MLflow model folder (`save_model` wrote it) as an output of the run; maybe a registered version.

        `description` is Markdown for the model's page.
        """

    def end_run(self, uid: str, status: Status) -> None:
        """The run is over, until it is opened again; numbers and tags may still follow."""

    def next_step(self, uid: str, key: str) -> int:
        """One past the last step that was noted of a metric, by whichever driver; 0 before the first."""

    def flush(self, timeout_s: float) -> bool:
        """Whether everything logged is at the server within the time."""

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
        """Make all that was logged durable and end the threads; log nothing afterwards."""


class NullTracker:
    """Logs nothing, so that callers never branch."""

    experiment_id: str | None = None
    problem: str | None = None

    def _do_nothing(self, *_: Any, **__: Any) -> None:
        pass

    start_run = log_metrics = set_tags = log_dataset = log_artifact = log_model = end_run = stop = _do_nothing

    def next_step(self, uid: str, key: str) -> int:
        """0: no metric was noted."""
        return 0

    def has_ended(self, uid: str) -> bool:
        """True: there is nothing to log again."""
        return True

    def flush(self, timeout_s: float) -> bool:
        """True: nothing is all there is."""
        return True

    def run_id(self, uid: str) -> str | None:
        """None: there are no runs."""
        return None
