"""The students on Ray Tune: one trial a student, on actors that are kept from one to the next.

Data and banks are read from the object store without a copy. Nothing of Tune's own bookkeeping is used: a trial
reports chunks of epochs to the driver, and its result lies on storage under the student's key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import ray
from ray import tune

from wetakd.cluster import heartbeat
from wetakd.cluster.capacity import worker_resources
from wetakd.cluster.placement_groups import removing_placement_groups
from wetakd.cluster.ray_cluster import session_folder
from wetakd.common.errors import last_line
from wetakd.common.process_state import set_default_variables, set_level
from wetakd.config import LimitsConfig, PlacementConfig, StudyConfig
from wetakd.data.dataset import Dataset
from wetakd.plan.outcomes import TrainedNetwork, TrainedStudent
from wetakd.plan.trials import Student
from wetakd.stages import training_job
from wetakd.stages.student_trial import student_trial
from wetakd.stages.training_job import NON_RETRYABLE, TrainingJob, student_job
from wetakd.storage import failure_records
from wetakd.storage.addresses import student_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.failure_records import Failure
from wetakd.storage.temporary_folders import temporary_folder
from wetakd.training.epoch import Epoch
from wetakd.training.failures import RECORDED

# A trial reports when this long has passed and an epoch is done: often enough to be followed, too rarely to cost.
REPORT_EVERY_S = 1.0
_STUDENT_POLL_S = 1.0

# What Tune does beside training, and nobody here needs: log files, experiment snapshots, its own progress, its own
# way with Ctrl-C (which would end the experiment as if it were done).
_TUNE_SWITCHES = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}

Watch = Callable[[str, Epoch], None]


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all trials of one run read: references only, so that every node holds one copy."""

    dataset_ref: ray.ObjectRef[Dataset]
    bank_refs: Mapping[str, ray.ObjectRef[pa.Table]]
    jobs: Sequence[TrainingJob]
    teacher_keys: Sequence[tuple[str, ...]]

    @cached_property
    def dataset(self) -> Dataset:
        """The same object for all students of an actor, because its images are copied to the device once."""
        return ray.get(self.dataset_ref)


def train_students(
    students: Mapping[str, Student],
    until: Mapping[str, int],
    config: StudyConfig,
    store: Store,
    dataset_ref: ray.ObjectRef[Dataset],
    networks: Mapping[tuple[int, str], TrainedNetwork],
    watch: Watch,
    on_found: Callable[[str], None] = lambda _: None,
) -> dict[str, TrainedStudent]:
    """Train the students (by key) that storage lacks; returns all of them.

    `until`: keys of students that stop after so many epochs, for now. `on_found(key)` is called first, for each student
    that is not to be trained; `watch(key, epoch)` in the driver for each epoch reported. A student that fails costs
    itself only: its `error` says why. What would happen again is recorded, and students with such a record are not
    trained. A trial whose heartbeat stops is killed and retried.
    """
    absent = [key for key in students if store.find_intact(student_address(key)) is None]
    known = {
        key: found for key in absent if (found := failure_records.find_failure(store, student_address(key))) is not None
    }
    missing = [students[key] for key in absent if key not in known]
    for key in students.keys() - {student.key for student in missing}:
        on_found(key)
    collector = _Collector(
        [student.key for student in missing],
        watch,
        config.limits,
        lambda key, failure: failure_records.record_failure(store, student_address(key), failure),
    )
    if missing:
        shared = _Shared(
            dataset_ref,
            {network.node.key: network.bank_ref for network in networks.values() if network.bank_ref is not None},
            [student_job(student, config, store.uri, until.get(student.key)) for student in missing],
            [student.teacher_keys for student in missing],
        )
        with collector.listening() as mailbox:
            _tune_all(shared, mailbox, config, store, collector)
    new = {student.key for student in missing}
    return {
        key: _failed_before(student, known[key], until.get(key))
        if key in known
        else _outcome(student, key in new, store, collector)
        for key, student in students.items()
    }


def _failed_before(student: Student, failure: Failure, until: int | None) -> TrainedStudent:
    """A recorded failure; a student that stops before it failed is as it was then, whatever storage holds."""
    if until is not None and until <= len(failure.epochs):
        return TrainedStudent(student, stopped_at=Epoch.from_dict(failure.epochs[until - 1]))
    return TrainedStudent(student, error=failure.reason)


def _outcome(student: Student, trained: bool, store: Store, collector: _Collector) -> TrainedStudent:
    manifest = store.find(student_address(student.key))
    if manifest is not None:
        return TrainedStudent(student, trained, manifest)
    last = collector.last.get(student.key)
    error = collector.errors.get(student.key)
    if error is None and last is not None:
        return TrainedStudent(student, trained, stopped_at=last)
    return TrainedStudent(student, trained, error=error or "it ended without a result")


def _tune_all(shared: _Shared, mailbox: Any, config: StudyConfig, store: Store, collector: _Collector) -> None:
    """A Tune experiment over all students that are missing, and others over those whose actors Tune lost."""
    remaining = list(range(len(shared.jobs)))
    work = [ray.put((_StudentTraining, shared))]
    trainable = student_trial(mailbox, work)
    for _ in range(1 + config.limits.retries):
        _tune(trainable, remaining, config, store, collector)
        # Tune tries again where an actor dies while it trains, but not where it dies between two trials.
        remaining = collector.take_lost()
        if not remaining:
            return
    collector.give_up(remaining)


def _tune(trainable: Any, students: list[int], config: StudyConfig, store: Store, collector: _Collector) -> None:
    set_default_variables(_TUNE_SWITCHES)
    set_level("ray.tune", logging.CRITICAL)
    placement = config.student.placement
    with temporary_folder(store, config.study.name, session=session_folder()) as folder, removing_placement_groups():
        tune.Tuner(
            tune.with_resources(trainable, _resources(placement)),
            param_space={"student": tune.grid_search(students)},
            tune_config=tune.TuneConfig(max_concurrent_trials=config.study.max_concurrent, reuse_actors=True),
            run_config=tune.RunConfig(
                name="students",
                storage_path=str(folder),
                failure_config=tune.FailureConfig(max_failures=config.limits.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[collector],
                verbose=0,
            ),
        ).fit()


def _resources(placement: PlacementConfig) -> tune.PlacementGroupFactory:
    selector: dict[str, Any] = {"bundle_label_selector": [dict(placement.labels)]} if placement.labels else {}
    return tune.PlacementGroupFactory([worker_resources(placement)], **selector)


class _StudentTraining:
    """One student, trained in steps of about `REPORT_EVERY_S` seconds; see `student_trial`."""

    def __init__(self, shared: _Shared, index: int, on_step: Callable[[], None]) -> None:
        self._epochs = self._train(shared, index, on_step)

    def _train(self, shared: _Shared, index: int, on_step: Callable[[], None]) -> Iterator[Epoch]:
        banks = ray.get([shared.bank_refs[key] for key in shared.teacher_keys[index]])
        yield from training_job.run_job(shared.jobs[index], shared.dataset, banks, on_step=on_step)

    def step(self) -> dict[str, Any]:
        """Train for a while; the result carries the epochs done since the last one."""
        reported: list[Epoch] = []
        deadline = time.monotonic() + REPORT_EVERY_S
        try:
            for epoch in self._epochs:
                reported.append(epoch)
                if time.monotonic() > deadline:
                    return {"reported": reported, "failure": None, "done": False}
        except NON_RETRYABLE as error:  # an error row, not another try
            failure = Failure(str(error) or type(error).__name__, getattr(error, "epochs", ()))
            return {"reported": reported, "failure": failure, "done": True, "recorded": isinstance(error, RECORDED)}
        return {"reported": reported, "failure": None, "done": True}


class _Collector(tune.Callback):
    """Receives what trials report, in the driver, and has those killed whose heartbeat stops."""

    def __init__(
        self, keys: Sequence[str], watch: Watch, limits: LimitsConfig, record: Callable[[str, Failure], None]
    ) -> None:
        self._keys = keys
        self._record = record
        self._watch = watch
        self._limits = limits
        self._heartbeats: heartbeat.HeartbeatMonitor | None = None
        self._next_poll = 0.0
        self.last: dict[str, Epoch] = {}
        self.errors: dict[str, str] = {}
        self._lost: list[int] = []

    @contextmanager
    def listening(self) -> Iterator[Any]:
        """Watch the heartbeats of all students during the block; gives the mailbox for them."""
        self._heartbeats = heartbeat.HeartbeatMonitor(self._limits)
        try:
            with ExitStack() as stack:
                for index, key in enumerate(self._keys):
                    stack.enter_context(self._heartbeats.watch(str(index), f"student {key[:12]}"))
                yield self._heartbeats.mailbox
        finally:
            self._heartbeats.close()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that we never ask for, and ours ends in the driver."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Pass on every epoch once, also where a second try tells them again."""
        key = self._key(trial)
        for epoch in result["reported"]:
            if key not in self.last or epoch.epoch > self.last[key].epoch:
                self.last[key] = epoch
                self._watch(key, epoch)
        if result["failure"] is not None:
            self.errors[key] = result["failure"].reason
            if result["recorded"]:
                self._record(key, result["failure"])

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
        if self._heartbeats is not None and time.monotonic() >= self._next_poll:
            self._heartbeats.poll()
            self._next_poll = time.monotonic() + _STUDENT_POLL_S

    def _kill_reason(self, index: int) -> str | None:
        return self._heartbeats.kill_reason(str(index)) if self._heartbeats is not None else None

    def _key(self, trial: Any) -> str:
        index: int = trial.config["student"]
        return self._keys[index]
