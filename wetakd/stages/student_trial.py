"""The Tune trial of a student. Imports neither torch nor what a trial runs, so that its `start` is sent before that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress

if TYPE_CHECKING:
    import pyarrow as pa

    from wetakd.data.dataset import Dataset
    from wetakd.stages.training_job import TrainingJob
    from wetakd.training.epoch import Epoch

REPORT_EVERY_S = 1.0
"""A trial reports when this long has passed and an epoch is done: often enough to follow it, too rarely to cost."""


@dataclass(frozen=True, eq=False)
class StudentInputs:
    """What all trials of one Tune run read: references only, so that every node holds one copy."""

    dataset_ref: ray.ObjectRef[Dataset]
    cache_refs: Mapping[str, ray.ObjectRef[pa.Table]]
    jobs: Sequence[TrainingJob]
    cache_digests: Sequence[tuple[str, ...]]

    @cached_property
    def dataset(self) -> Dataset:
        """The same object for all students of an actor, because its images are copied to the device once."""
        return ray.get(self.dataset_ref)

    def epochs(self, index: int, on_step: Callable[[], None]) -> Iterator[Epoch]:
        """Start the training of student number `index`, which goes on with each epoch that is asked for."""
        from wetakd.stages.training_run import run_job

        caches = ray.get([self.cache_refs[digest] for digest in self.cache_digests[index]])
        return run_job(self.jobs[index], self.dataset, caches, on_step=on_step)


def student_trial(mailbox: Any, inputs: Sequence[ray.ObjectRef[Any]]) -> Any:
    """A trainable for Tune, whose `config["student"]` is a student's number.

    `inputs` holds one reference to `StudentInputs`. `mailbox`: of the driver's `HeartbeatMonitor`, in which a student's
    uid is its number.
    """
    return tune.with_parameters(_StudentTrial, mailbox=mailbox, inputs=inputs)


class _StudentTrial(tune.Trainable):
    """Trains one student after another in the same process."""

    def setup(
        self, config: dict[str, Any], mailbox: Any = None, inputs: Sequence[ray.ObjectRef[Any]] | None = None
    ) -> None:
        """Called once an actor, with what all its students share."""
        assert inputs is not None  # tune.with_parameters gives it
        self._mailbox = mailbox
        self._start_heartbeat(config["student"])
        self._inputs: StudentInputs = ray.get(inputs[0])
        self._epochs = self._inputs.epochs(config["student"], self._heartbeat.beat)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called for every further student on this actor."""
        self._start_heartbeat(new_config["student"])
        self._epochs = self._inputs.epochs(new_config["student"], self._heartbeat.beat)
        return True

    def _start_heartbeat(self, index: int) -> None:
        self._heartbeat = Heartbeat(HeartbeatAddress(str(index), self._mailbox))
        self._heartbeat.start()

    def step(self) -> dict[str, Any]:
        """Train for about `REPORT_EVERY_S` seconds; the result carries the epochs done since the last one."""
        from wetakd.stages.training_run import NON_RETRYABLE
        from wetakd.storage.failure_records import Failure
        from wetakd.training.failures import RECORDED

        result: dict[str, Any] = {"reported": [], "failure": None, "recorded": False, "done": True}
        deadline = time.monotonic() + REPORT_EVERY_S
        try:
            for epoch in self._epochs:
                result["reported"].append(epoch)
                if time.monotonic() > deadline:
                    return result | {"done": False}
        except NON_RETRYABLE as error:  # an error row, not another try
            failure = Failure(str(error) or type(error).__name__, getattr(error, "epochs", ()))
            result |= {"failure": failure, "recorded": isinstance(error, RECORDED)}
        self._heartbeat.end()
        return result
