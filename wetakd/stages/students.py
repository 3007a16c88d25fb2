"""The students on Ray Tune: one trial a student, on actors that are kept from one to the next.

Data and logit caches are read from the object store without a copy. Nothing of Tune's own bookkeeping is used: a trial
reports chunks of epochs to the driver, and its result is stored under the student's key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray import tune

from wetakd.cluster.capacity import worker_resources
from wetakd.cluster.placement_groups import removing_placement_groups
from wetakd.cluster.ray_cluster import session_folder
from wetakd.common.process_state import set_default_variables, set_level
from wetakd.config import PlacementConfig
from wetakd.plan.outcomes import Networks, TrainedStudent, cache_digests
from wetakd.plan.result_keys import ResultKeys
from wetakd.plan.study_references import record_references
from wetakd.plan.trials import Student, Trial
from wetakd.results.display_names import recipe_label
from wetakd.stages.epoch_progress import EpochCounter
from wetakd.stages.halving import train_in_rungs
from wetakd.stages.searches import TrialWeights
from wetakd.stages.student_collector import StudentCollector
from wetakd.stages.student_trial import StudentInputs, student_trial
from wetakd.stages.study_context import StudyContext
from wetakd.stages.training_job import student_job
from wetakd.storage import failure_records
from wetakd.storage.addresses import student_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.failure_records import Failure
from wetakd.storage.stopped_students import write_stopped_epochs
from wetakd.storage.temporary_folders import temporary_folder
from wetakd.training.epoch import Epoch

# What Tune does beside training, and nobody here needs: log files, experiment snapshots, its own progress, its own
# way with Ctrl-C (which would end the experiment as if it were done).
_TUNE_SWITCHES = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def train_students(study: StudyContext, networks: Networks, trial_weights: TrialWeights) -> dict[Trial, TrainedStudent]:
    """The student of every trial that has weights; equal students are trained once."""
    keys = ResultKeys(study.plan, cache_digests(networks))
    students = {trial: keys.student(trial, weights) for trial, weights in trial_weights.weights.items()}
    record_references(study.store, study.plan, {student_address(student.key) for student in students.values()})
    study.study_logger.set_students({trial: student.key for trial, student in students.items()})
    by_key = {student.key: student for student in students.values()}
    label = {
        student.key: f"{recipe_label(trial.arm.strategy, trial.arm.assistants, trial.arm.point)}, seed {trial.seed}"
        for trial, student in students.items()
    }
    with study.stage("students", sum(s.config.recipe.epochs for s in by_key.values())) as stage:
        counter = EpochCounter(stage)

        def on_epoch(key: str, epoch: Epoch) -> None:
            num_epochs = by_key[key].config.recipe.epochs
            study.study_logger.log_student_epoch(key, epoch, num_epochs)
            counter.reported(key, label[key], epoch, num_epochs)

        def on_end(key: str) -> None:
            counter.finish(key, label[key], by_key[key].config.recipe.epochs)

        runner = StudentRunner(study, networks, on_epoch, on_end)
        halving = study.config.study.halving
        outcomes = train_in_rungs(students, halving, runner.train, on_end) if halving else runner.train(by_key, {})
    for outcome in outcomes.values():
        study.study_logger.log_student_end(outcome)
        if outcome.stopped_epochs:
            write_stopped_epochs(study.store, study.config.study.name, outcome.student.key, outcome.stopped_epochs)
    return {trial: outcomes[student.key] for trial, student in students.items()}


class StudentRunner:
    """Trains students on Ray Tune.

    `on_epoch(key, epoch)` is called for each epoch reported, `on_end(key)` for each student that has no training left
    and did not report it: it was found on storage, or has failed.
    """

    def __init__(
        self,
        study: StudyContext,
        networks: Networks,
        on_epoch: Callable[[str, Epoch], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._study = study
        self._config = study.config
        self._store = study.store
        self._cache_refs = {n.cache_digest: n.ref for n in networks.values() if n.cache_digest is not None}
        self._on_epoch = on_epoch
        self._on_end = on_end

    def train(self, students: Mapping[str, Student], until: Mapping[str, int]) -> dict[str, TrainedStudent]:
        """Train the students (by key) that storage lacks; returns all of them.

        `until`: keys of students that stop after so many epochs, for now. A student that fails costs itself only: its
        `error` says why. What would happen again is recorded, and students with such a record are not trained. A trial
        whose heartbeat stops is killed and retried.
        """
        absent = [key for key in students if self._store.find_intact(student_address(key)) is None]
        found = {key: failure_records.find_failure(self._store, student_address(key)) for key in absent}
        known = {key: failure for key, failure in found.items() if failure is not None}
        missing = [students[key] for key in absent if key not in known]
        new = {student.key for student in missing}
        for key in students.keys() - new:
            self._on_end(key)
        collector = StudentCollector(
            [student.key for student in missing], self._config.limits, self._on_epoch, self._record_failure
        )
        if missing:
            with collector.watching() as mailbox:
                trainable = student_trial(mailbox, [ray.put(self._inputs(missing, until))])
                remaining = list(range(len(missing)))
                for _ in range(1 + self._config.limits.retries):
                    self._tune(trainable, remaining, collector)
                    # Tune tries again where an actor dies while it trains, but not where it dies between two trials.
                    remaining = collector.take_lost()
                    if not remaining:
                        break
                collector.give_up(remaining)
        outcomes = {
            key: _failed_before(student, known[key], until.get(key))
            if key in known
            else _outcome(student, key in new, self._store, collector)
            for key, student in students.items()
        }
        for key in (key for key, outcome in outcomes.items() if outcome.error):
            self._on_end(key)
        return outcomes

    def _inputs(self, students: Sequence[Student], until: Mapping[str, int]) -> StudentInputs:
        jobs = [student_job(student, self._config, self._store.uri, until.get(student.key)) for student in students]
        digests = [student.cache_digests for student in students]
        return StudentInputs(self._study.dataset_ref, self._cache_refs, jobs, digests)

    def _record_failure(self, key: str, failure: Failure) -> None:
        failure_records.record_failure(self._store, student_address(key), failure)

    def _tune(self, trainable: Any, students: list[int], collector: StudentCollector) -> None:
        set_default_variables(_TUNE_SWITCHES)
        set_level("ray.tune", logging.CRITICAL)
        config = self._config
        with (
            temporary_folder(self._store, config.study.name, session=session_folder()) as folder,
            removing_placement_groups(),
        ):
            tune.Tuner(
                tune.with_resources(trainable, _resources(config.student.placement)),
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


def _failed_before(student: Student, failure: Failure, until: int | None) -> TrainedStudent:
    """A recorded failure; a student that stops before it failed is as it was then, whatever storage holds."""
    if until is not None and until <= len(failure.epochs):
        return TrainedStudent(student, stopped_epochs=tuple(map(Epoch.from_dict, failure.epochs[:until])))
    return TrainedStudent(student, error=failure.reason)


def _outcome(student: Student, trained: bool, store: Store, collector: StudentCollector) -> TrainedStudent:
    manifest = store.find(student_address(student.key))
    if manifest is not None:
        return TrainedStudent(student, trained, manifest)
    epochs = collector.epochs.get(student.key)
    error = collector.errors.get(student.key)
    if error is None and epochs:
        return TrainedStudent(student, trained, stopped_epochs=tuple(epochs))
    return TrainedStudent(student, trained, error=error or "it ended without a result")
