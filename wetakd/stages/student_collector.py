"""What Tune's trials report, received in the driver."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ray import tune

from wetakd.cluster.heartbeat import HeartbeatMonitor
from wetakd.common.errors import last_line
from wetakd.config import LimitsConfig
from wetakd.storage.failure_records import Failure
from wetakd.training.epoch import Epoch

_STUDENT_POLL_S = 1.0


class StudentCollector(tune.Callback):
    """Receives what trials report, in the driver, and has those killed whose heartbeat stops."""

    def __init__(
        self,
        keys: Sequence[str],
        limits: LimitsConfig,
        on_epoch: Callable[[str, Epoch], None],
        on_failure: Callable[[str, Failure], None],
    ) -> None:
        self._keys = keys
        self._on_failure = on_failure
        self._on_epoch = on_epoch
        self._limits = limits
        self._monitor: HeartbeatMonitor | None = None
        self._next_poll = 0.0
        self.epochs: dict[str, list[Epoch]] = defaultdict(list)
        self.errors: dict[str, str] = {}
        self._lost: list[int] = []

    @contextmanager
    def watching(self) -> Iterator[Any]:
        """Watch the heartbeats of all students during the block; gives the mailbox for them."""
        self._monitor = HeartbeatMonitor(self._limits)
        try:
            with ExitStack() as stack:
                for index, key in enumerate(self._keys):
                    stack.enter_context(self._monitor.watch(str(index), f"student {key[:12]}"))
                yield self._monitor.mailbox
        finally:
            self._monitor.close()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that we never ask for, and ours ends in the driver."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Pass on every epoch once, also where a second try reports them again."""
        key = self._key(trial)
        for epoch in result["reported"]:
            known = self.epochs[key]
            if not known or epoch.epoch > known[-1].epoch:
                known.append(epoch)
                self._on_epoch(key, epoch)
        if result["failure"] is not None:
            self.errors[key] = result["failure"].reason
            if result["recorded"]:
                self._on_failure(key, result["failure"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """All tries are used up, or Tune gives up before they are."""
        index = trial.config["student"]
        if trial.should_recover():
            self._lost.append(index)
            return
        if reason := self._kill_reason(index):
            self.errors[self._keys[index]] = f"its worker died more than {self._limits.retries} times: {reason}"
            return
        self.errors[self._keys[index]] = last_line(str(trial.get_error() or "")) or "its worker died"

    def take_lost(self) -> list[int]:
        """The students, by their place, that Tune gave up though there are tries left."""
        lost, self._lost = self._lost, []
        return lost

    def give_up(self, students: Sequence[int]) -> None:
        """They were lost too often."""
        lost = f"its worker died more than {self._limits.retries} times"
        for student in students:
            reason = self._kill_reason(student)
            self.errors[self._keys[student]] = f"{lost}: {reason}" if reason else lost

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Look at the heartbeats now and then: killed processes are dead actors to Tune, which then tries again."""
        if self._monitor is not None and time.monotonic() >= self._next_poll:
            self._monitor.poll()
            self._next_poll = time.monotonic() + _STUDENT_POLL_S

    def _kill_reason(self, index: int) -> str | None:
        return self._monitor.kill_reason(str(index)) if self._monitor is not None else None

    def _key(self, trial: Any) -> str:
        index: int = trial.config["student"]
        return self._keys[index]
