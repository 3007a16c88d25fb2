"""The Tune trial of a student. Imports neither torch nor what a trial runs, so that its `start` is sent before that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray import tune

from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress


def student_trial(mailbox: Any, work: Sequence[ray.ObjectRef[Any]]) -> Any:
    """A trainable for Tune, whose `config["student"]` is a student's number.

    `work` holds one reference to (a class, what all students share); `class(shared, number, on_step)` trains a student
    in steps. `mailbox`: of the driver's `HeartbeatMonitor`, in which a student's uid is its number.
    """
    return tune.with_parameters(_StudentTrial, mailbox=mailbox, work=work)


class _StudentTrial(tune.Trainable):
    """Trains one student after another in the same process."""

    def setup(
        self, config: dict[str, Any], mailbox: Any = None, work: Sequence[ray.ObjectRef[Any]] | None = None
    ) -> None:
        """Called once an actor, with what all its students share."""
        assert work is not None  # tune.with_parameters gives it
        self._mailbox = mailbox
        self._start(config["student"])
        self._training_class, self._shared = ray.get(work[0])
        self._begin(config["student"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called for every further student on this actor."""
        self._start(new_config["student"])
        self._begin(new_config["student"])
        return True

    def _start(self, index: int) -> None:
        self._heartbeat = Heartbeat(HeartbeatAddress(str(index), self._mailbox))
        self._heartbeat.start()

    def _begin(self, index: int) -> None:
        self._training = self._training_class(self._shared, index, self._heartbeat.beat)

    def step(self) -> dict[str, Any]:
        """Train for a while."""
        result: dict[str, Any] = self._training.step()
        if result["done"]:
            self._heartbeat.end()
        return result
