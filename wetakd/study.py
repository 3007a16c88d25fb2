"""The story of a study, top to bottom.

    data -> networks -> logit cache -> weights -> students -> the choice -> the test set -> report

Each line of `Study.run` is one stage. What a stage finishes is stored under its key, so a study that is run again,
after a crash or on another day, only does what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import pandas as pd
import ray

from wetakd.cluster import capacity
from wetakd.cluster.ray_cluster import joined
from wetakd.common.errors import UserError
from wetakd.common.process_state import restored
from wetakd.common.progress import QuietReporter, Reporter
from wetakd.config import StudyConfig
from wetakd.config.study_record import check_credentials, dump_record, load_record
from wetakd.plan import checks_before_training, completeness, study_references
from wetakd.plan.resolved_precision import (
    Precisions,
    read_precisions,
    unmeasured_precisions,
    write_precisions,
)
from wetakd.plan.study_plan import Plan
from wetakd.report.report import Report, build_report
from wetakd.results.stored_results import SUMMARY, Results
from wetakd.results.winner import Winner, choose_winner
from wetakd.stages.data_loading import load_data
from wetakd.stages.evaluation import evaluate_on_test
from wetakd.stages.networks import train_networks
from wetakd.stages.precision import resolve_precisions
from wetakd.stages.publish import TRACKING_S, publish
from wetakd.stages.result_tables import trials_table
from wetakd.stages.searches import search_weights
from wetakd.stages.students import train_students
from wetakd.stages.study_context import StudyContext
from wetakd.storage.addresses import lease_path, student_address, study_path
from wetakd.storage.atomic_store import Store
from wetakd.storage.format_number import write_format
from wetakd.storage.lease import Lease
from wetakd.storage.temporary_folders import remove_temporary_folders
from wetakd.tracking.event_journal import ensure_study_id
from wetakd.tracking.mlflow_tracker import open_tracker
from wetakd.tracking.session_record import recorded_session
from wetakd.tracking.study_logger import STUDY_RUN, StudyLogger
from wetakd.tracking.system_metrics import log_system_metrics
from wetakd.tracking.tracker import Tracker


@dataclass(frozen=True)
class StudyResult:
    """What a study found, and what this run of it had to do."""

    results: Results
    report: Report
    tracked: bool
    """Whether MLflow has all of it."""
    seconds: float
    num_networks_trained: int = 0
    num_students_trained: int = 0

    @property
    def table(self) -> pd.DataFrame:
        """One row a trial."""
        return self.results.trials

    @property
    def winner(self) -> Winner | None:
        """The recipe and the student that did best on `choose`, with its weights; None where no student finished."""
        return self.results.winner

    @property
    def checkpoint(self) -> str | None:
        """Address of the winner's weights on the study's storage."""
        return student_address(self.winner.student_key) if self.winner else None

    @property
    def num_networks_failed(self) -> int:
        """Networks that failed for a reason of their own, not because one of their teachers failed."""
        return len(self.report.findings.failures.networks)

    @property
    def num_students_failed(self) -> int:
        """Distinct students that failed; several trials may share one."""
        return self.report.findings.failures.num_students

    @property
    def num_trials_failed(self) -> int:
        """Trials (rows of the table) without a student, for whatever reason."""
        return self.report.findings.failures.num_trials

    @property
    def exit_code(self) -> int:
        """0; or 1 where a trial has no student, or MLflow lacks something."""
        return int(self.num_trials_failed > 0 or not self.tracked)


class Study:
    """One study: a configuration, and where to show what happens.

    `revise`: accept a file that differs from the one that this study name was first run with.
    `retry_failed`: remove the recorded failures of this study first, so that they are tried again.
    """

    def __init__(
        self,
        config: StudyConfig,
        *,
        reporter: Reporter | None = None,
        revise: bool = False,
        retry_failed: bool = False,
    ) -> None:
        self.config = config
        self.store = Store(config.storage)
        self._reporter = reporter or QuietReporter()
        self._revise = revise
        self._retry_failed = retry_failed
        self._revised = False

    def run(self) -> StudyResult:
        """Do what is missing and report on the whole; raises UserError for what the user can fix.

        Signal handlers, logger levels, environment variables, warning filters and torch's number of threads are
        afterwards as they were.
        """
        started = time.monotonic()
        with (
            restored(),
            self._claimed() as lease,
            open_tracker(self.config, self.store) as tracker,
            ExitStack() as cluster,
        ):
            dataset = load_data(self.config, self._reporter)
            precisions: Precisions | None = read_precisions(self.store, self.config)
            is_measured = precisions is None or (self._revise and bool(precisions))
            if is_measured:
                # A network that is wrong is refused before a cluster starts.
                self._check_models(Plan(self.config, dataset, unmeasured_precisions(self.config)))
                precisions = self._measure_precisions(cluster, precisions)
            plan = Plan(self.config, dataset, precisions or {})
            if self._retry_failed:
                study_references.forget_failures(self.store, plan)
            if not self._revised and tracker.has_ended(STUDY_RUN) and completeness.is_complete(self.store, plan):
                self._record()  # the one thing that may have been lost all the same
                results = Results.read(self.store, self.config.study.name)
                tracked = tracker.flush(TRACKING_S)
                return StudyResult(results, build_report(results), tracked, time.monotonic() - started)
            if not is_measured:
                self._check_models(plan)
            with (
                self._running(plan, tracker, lease) as study,
                recorded_session(self.store, self.config.study.name) as session,
            ):
                networks = train_networks(study)
                trial_weights = search_weights(study, networks)
                students = train_students(study, networks, trial_weights)
                table = trials_table(plan.trials, trial_weights, students, networks)
                winner = choose_winner(table)
                results = evaluate_on_test(study, table, winner, networks, trial_weights, students)
                results, report, tracked = publish(study, networks, students, results)
                result = StudyResult(
                    results,
                    report,
                    tracked,
                    time.monotonic() - started,
                    num_networks_trained=sum(network.trained for network in networks.values()),
                    num_students_trained=len({s.student.key for s in students.values() if s.trained and s.manifest}),
                )
                session.exit_status = result.exit_code
                return result

    def _check_models(self, plan: Plan) -> None:
        with self._reporter.stage("models", 1.0) as stage:
            stage.step(0, "each network is built and tried for one step")
            checks_before_training.check_models(self.config, plan.dataset, plan, self.store)

    def _measure_precisions(self, cluster: ExitStack, recorded: Precisions | None) -> Precisions:
        """Measure what `precision: auto` stands for on the cluster, which is joined for it, and record it."""
        with self._reporter.stage("cluster", 1.0) as stage:
            stage.step(0, "float32 and bfloat16 are compared")
            cluster.enter_context(joined(self.config))
            precisions = resolve_precisions(self.config)
        self._revised = self._revised or (recorded is not None and recorded != precisions)
        write_precisions(self.store, self.config, precisions)
        return precisions

    @contextmanager
    def _claimed(self) -> Iterator[Lease]:
        """The storage, writable and ours alone, with this very question or none under the study's name."""
        check_credentials(self.config)
        checks_before_training.check_storage(self.config)
        checks_before_training.check_placements(self.config)
        self.store.check_writable()
        write_format(self.store)
        with Lease(self.store, lease_path(self.config.study.name)) as lease:
            remove_temporary_folders(self.store, self.config.study.name)
            self._check_same_file()
            yield lease

    @contextmanager
    def _running(self, plan: Plan, tracker: Tracker, lease: Lease) -> Iterator[StudyContext]:
        """The cluster, after it has been asked whether it can do this; an end before the end closes the runs."""
        with ExitStack() as stack:
            with self._reporter.stage("cluster", 1.0) as stage:
                stage.step(0, "Ray starts, or is joined")
                stack.enter_context(joined(self.config))
                checks_before_training.check_storage(self.config)
                stored = partial(completeness.has_network, self.store, plan)
                capacity.check_capacity(self.config, self._reporter.message, stored)
            if self._revised:  # it answers another question
                self.store.delete(self._path(SUMMARY))
            study_references.record_references(self.store, plan, replace=self._revised)
            self._record()
            ensure_study_id(self.store, self.config.study.name)
            study_logger = StudyLogger(tracker, self.config)
            stack.push(lambda kind, *_: study_logger.end_killed_runs() if kind else None)
            study_logger.log_study(plan.dataset)
            if self.config.mlflow.system_metrics:
                stack.enter_context(log_system_metrics(tracker, STUDY_RUN))
            yield StudyContext(
                self.config,
                self.store,
                lease,
                plan.dataset,
                ray.put(plan.dataset),
                ray.put(plan.dataset.split_labels),
                plan,
                tracker,
                study_logger,
                self._reporter,
            )

    def _record(self) -> None:
        self.store.write(self._path(study_references.STUDY_FILE), dump_record(self.config))

    def _path(self, name: str) -> str:
        return study_path(self.config.study.name, name)

    def _check_same_file(self) -> None:
        """One study name means one question: a changed file needs a new name, or `--revise`."""
        raw = self.store.read_file(self._path(study_references.STUDY_FILE))
        before = load_record(raw)
        if raw is not None and before is None:  # damaged
            self._record()
        changed = self.config.differences(before) if before is not None else []
        self._revised = bool(changed)
        if changed and not self._revise:
            raise UserError(
                f"{changed[0]}: differs from what study {self.config.study.name!r} was first run with "
                f"({len(changed)} field(s) changed); give study.name another value, or pass --revise"
            )
