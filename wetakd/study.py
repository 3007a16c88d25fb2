"""The story of a study, top to bottom.

    data -> networks -> bank -> weights -> students -> the choice -> the test set -> report

Each line of `Study.run` is one room of the library. Whatever a room finishes lies on storage under its key, so a
study that is run again, after a crash or on another day, only does what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import ray

from wetakd import cluster, data, preflight, tables, tracking, training_job
from wetakd.config import StudyConfig
from wetakd.data import Dataset
from wetakd.errors import UserError
from wetakd.export import mlflow_model_folder
from wetakd.halving import rungs, survivors
from wetakd.judge import judge_ensembles, judge_networks, judge_students
from wetakd.logbook import STUDY, Logbook
from wetakd.networks import TrainedNetwork, train_networks
from wetakd.plan import Arm, Plan, Student, Trial, control_weights
from wetakd.progress import EpochCounter, QuietReporter, Reporter
from wetakd.report import Report, build
from wetakd.results import Results
from wetakd.searches import Searches, search_weights
from wetakd.statistics import choose_winner
from wetakd.storage import Store
from wetakd.tracking import Tracker
from wetakd.training import Epoch
from wetakd.trials import TrainedStudent, train_students
from wetakd.weights import SearchResult

Networks = Mapping[tuple[int, str], TrainedNetwork]


@dataclass(frozen=True)
class StudyResult:
    """What a study found."""

    results: Results
    report: Report
    num_networks_trained: int
    num_students_trained: int
    num_failed: int
    tracked: bool
    seconds: float

    @property
    def table(self) -> pd.DataFrame:
        """One row a trial."""
        return self.results.trials


@dataclass(frozen=True)
class _Ground:
    """What every stage of a running study stands on."""

    config: StudyConfig
    store: Store
    dataset: Dataset
    dataset_ref: ray.ObjectRef[Dataset]
    plan: Plan
    book: Logbook
    reporter: Reporter


@dataclass(frozen=True)
class _Weighed:
    """The weights of every trial that can run, where they came from, and why the others cannot."""

    weights: Mapping[Trial, tuple[float, ...]]
    results: Mapping[Trial, SearchResult]
    searches: Searches
    errors: Mapping[Trial, str]


class Study:
    """One study: a configuration, and where to show what happens.

    `revise`: accept a file that differs from the one that this study name was first run with.
    """

    def __init__(self, config: StudyConfig, *, reporter: Reporter | None = None, revise: bool = False) -> None:
        self.config = config
        self.store = Store(config.storage)
        self._reporter = reporter or QuietReporter()
        self._revise = revise

    def run(self) -> StudyResult:
        """Do what is missing and report on the whole; raises UserError for what the user can mend."""
        started = time.monotonic()
        with self._prepared() as (ground, tracker):
            networks = _train_networks(ground)
            weighed = _search_weights(ground, networks)
            outcomes = _train_students(ground, networks, weighed)
            table = tables.trials_table(
                ground.plan.trials, weighed.weights, weighed.results, outcomes, weighed.errors, networks
            )
            winner = choose_winner(table)
            results = _judge(ground, table, winner, networks, weighed, outcomes)
            report, tracked = _publish(ground, tracker, results)
        new = {o.student.key for o in outcomes.values() if o.trained and o.manifest}
        return StudyResult(
            results=results,
            report=report,
            num_networks_trained=sum(network.trained for network in networks.values()),
            num_students_trained=len(new),
            num_failed=int(table["error"].notna().sum()) + sum(n.error is not None for n in networks.values()),
            tracked=tracked,
            seconds=time.monotonic() - started,
        )

    @contextmanager
    def _prepared(self) -> Iterator[tuple[_Ground, Tracker]]:
        """Data, cluster and tracker, after everything that cannot work has been refused."""
        with ExitStack() as stack:
            self.store.check_writable()
            stack.enter_context(self.store.lease(f"{self._folder}/lease.json"))
            self._check_same_file()
            dataset = load_data(self.config, self._reporter)
            plan = Plan(self.config, dataset)
            preflight.check_models(self.config, dataset, plan)
            tracker = stack.enter_context(tracking.connected(self.config, self.store))
            stack.enter_context(cluster.joined(self.config))
            preflight.check_resources(self.config, self._reporter.say)
            self.store.write(f"{self._folder}/study.yaml", self.config.to_yaml().encode())
            book = Logbook(tracker, self.config)
            stack.push(lambda kind, *_: book.abandon() if kind else None)
            book.begin(dataset)
            yield (
                _Ground(self.config, self.store, dataset, ray.put(dataset), plan, book, self._reporter),
                tracker,
            )

    @property
    def _folder(self) -> str:
        return f"studies/{self.config.study.name}"

    def _check_same_file(self) -> None:
        """One study name means one question: a changed file needs a new name, or `--revise`."""
        before = self.store.read_file(f"{self._folder}/study.yaml")
        if before is None or self._revise:
            return
        changed = self.config.differences(before.decode())
        if changed:
            raise UserError(
                f"{changed[0]}: differs from what study {self.config.study.name!r} was first run with "
                f"({len(changed)} field(s) changed); give study.name another value, or pass --revise"
            )


def load_data(config: StudyConfig, reporter: Reporter) -> Dataset:
    """Read, decode and split the images."""
    with reporter.stage("data", 1.0) as stage:
        return data.load(
            config.data,
            config.splits,
            config.transform,
            memory_share=config.limits.memory_share,
            on_progress=lambda done, total: stage.step(done / total, f"image {done:,} of {total:,}"),
        )


def _train_networks(ground: _Ground) -> dict[tuple[int, str], TrainedNetwork]:
    nodes = {node.uid: node for node in ground.plan.nodes}
    total = sum(node.config.recipe.epochs for node in nodes.values())
    with ground.reporter.stage("networks", total) as stage:
        counter = EpochCounter(stage)

        def watch(uid: str, epoch: Epoch) -> None:
            node = nodes[uid]
            ground.book.network_epoch(node, epoch)
            counter.heard(uid, node.name, epoch, node.config.recipe.epochs)

        networks = train_networks(ground.plan, ground.store, ground.dataset_ref, watch)
    for network in networks.values():
        ground.book.network_done(network)
        if network.error:
            ground.reporter.say(f"failed    {network.node.uid}: {network.error}")
    return networks


def _search_weights(ground: _Ground, networks: Networks) -> _Weighed:
    errors = {}
    for trial in ground.plan.trials:
        failed = [name for name in trial.arm.assistants if networks[trial.replicate, name].error]
        if failed:
            errors[trial] = f"network {failed[0]} failed: {networks[trial.replicate, failed[0]].error}"
    trials = [trial for trial in ground.plan.trials if trial not in errors]
    with ground.reporter.stage("weights", 1.0) as stage:
        found = search_weights(
            ground.plan,
            trials,
            networks,
            ground.store,
            ground.dataset_ref,
            lambda done, total: stage.step(done / total, f"{done} of {total} sets of networks"),
        )
    results = {t: found.results[ground.plan.search(t).key] for t in trials if t.arm.is_searched}
    weights = {t: tuple(results[t].weights.tolist()) if t in results else control_weights(t) for t in trials}
    return _Weighed(weights, results, found, errors)


def _train_students(ground: _Ground, networks: Networks, weighed: _Weighed) -> dict[Trial, TrainedStudent]:
    students = {trial: ground.plan.student(trial, weights) for trial, weights in weighed.weights.items()}
    ground.book.expect({trial: student.key for trial, student in students.items()})
    by_key = {student.key: student for student in students.values()}
    label = {student.key: f"{trial.arm.label}, seed {trial.seed}" for trial, student in students.items()}
    with ground.reporter.stage("students", sum(s.config.recipe.epochs for s in by_key.values())) as stage:
        counter = EpochCounter(stage)

        def watch(key: str, epoch: Epoch) -> None:
            ground.book.student_epoch(key, epoch)
            counter.heard(key, label[key], epoch, by_key[key].config.recipe.epochs)

        def train(some: Mapping[str, Student], until: Mapping[str, int]) -> dict[str, TrainedStudent]:
            return train_students(
                some, until, ground.config, ground.store, ground.dataset_ref, networks, watch
            )

        outcomes = _in_rungs(ground, students, train) if ground.config.study.halving else train(by_key, {})
    for outcome in outcomes.values():
        ground.book.student_done(outcome)
    return {trial: outcomes[student.key] for trial, student in students.items()}


def _judge(
    ground: _Ground,
    table: pd.DataFrame,
    winner: Trial,
    networks: Networks,
    weighed: _Weighed,
    outcomes: Mapping[Trial, TrainedStudent],
) -> Results:
    """Open the test set, once, for all; the winner is known already."""
    config, dataset_ref = ground.config, ground.dataset_ref
    distinct = {outcome.student.key: outcome for outcome in outcomes.values()}
    with ground.reporter.stage("test", 1.0) as stage:
        students = judge_students(
            distinct.values(),
            config,
            ground.store,
            dataset_ref,
            lambda done, total: stage.step(done / total, f"{done} of {total} students"),
        )
        mixtures = [(t.replicate, t.arm.assistants, w) for t, w in weighed.weights.items() if w]
        ensembles = judge_ensembles(mixtures, networks, config, dataset_ref)
    return ...
