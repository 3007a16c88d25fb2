"""The story of a study, top to bottom.

    data -> networks -> bank -> weights -> students -> the choice -> the test set -> report

Each line of `Study.run` is one room of the library. Whatever a room finishes lies on storage under its key, so a
study that is run again, after a crash or on another day, only does what is missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import pandas as pd
import ray

from wetakd import cluster, data, inventory, preflight, tables, tracking, training_job
from wetakd.config import StudentConfig, StudyConfig
from wetakd.data import Dataset
from wetakd.errors import UserError
from wetakd.export import MODEL_NAME, mlflow_model_folder
from wetakd.halving import train_in_rungs
from wetakd.judge import judge_ensembles, judge_networks, judge_students
from wetakd.logbook import STUDY, Logbook
from wetakd.models import cost
from wetakd.networks import TrainedNetwork, train_networks
from wetakd.plan import Plan, Student, Trial, control_weights
from wetakd.progress import EpochCounter, QuietReporter, Reporter
from wetakd.report import Report, build
from wetakd.results import Cost, Results
from wetakd.searches import Searches, search_weights
from wetakd.statistics import Winner, choose_winner
from wetakd.storage import Store
from wetakd.tracking import Tracker
from wetakd.training import Epoch
from wetakd.trials import TrainedStudent, train_students
from wetakd.trials import address as student_address
from wetakd.weights import SearchResult

Networks = Mapping[tuple[int, str], TrainedNetwork]
# MLflow may be this far behind when a study ends; what is not sent by then, `wetakd sync` sends.
_TRACKING_S = 120.0


@dataclass(frozen=True)
class StudyResult:
    """What a study found."""

    results: Results
    report: Report
    checkpoint: str | None
    """Address of the winner's weights on the study's storage."""
    num_networks_trained: int
    num_students_trained: int
    num_failed: int
    """Trials without a student."""
    tracked: bool
    """Whether MLflow has all of it."""
    seconds: float

    @property
    def table(self) -> pd.DataFrame:
        """One row a trial."""
        return self.results.trials

    @property
    def exit_code(self) -> int:
        """0; or 1 where a trial has no student, or MLflow lacks something."""
        return int(self.num_failed > 0 or not self.tracked)

    @property
    def winner(self) -> Winner | None:
        """The recipe and the student that did best on `choose`, with its weights; None where no student finished."""
        return self.results.winner


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
            results, report, tracked = _publish(ground, tracker, networks, results)
        return StudyResult(
            results=results,
            report=report,
            num_networks_trained=sum(network.trained for network in networks.values()),
            num_students_trained=len({o.student.key for o in outcomes.values() if o.trained and o.manifest}),
            num_failed=int(table["error"].notna().sum()),
            tracked=tracked,
            checkpoint=student_address(winner.student_key) if winner else None,
            seconds=time.monotonic() - started,
        )

    @contextmanager
    def _prepared(self) -> Iterator[tuple[_Ground, Tracker]]:
        """Data, cluster and tracker, after everything that cannot work has been refused."""
        with ExitStack() as stack:
            preflight.check_storage(self.config)
            self.store.check_writable()
            stack.enter_context(self.store.lease(f"{self._folder}/lease.json"))
            self._check_same_file()
            dataset = load_data(self.config, self._reporter)
            plan = Plan(self.config, dataset)
            preflight.check_models(self.config, dataset, plan)
            tracker = stack.enter_context(tracking.connected(self.config, self.store))
            stack.enter_context(cluster.joined(self.config))
            preflight.check_storage(self.config)
            preflight.check_resources(self.config, self._reporter.say)
            self.store.write(f"{self._folder}/study.yaml", self.config.to_yaml().encode())
            inventory.remember(self.store, plan)
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
    inventory.remember(ground.store, ground.plan, {student.key for student in students.values()})
    ground.book.expect({trial: student.key for trial, student in students.items()})
    by_key = {student.key: student for student in students.values()}
    label = {student.key: f"{trial.arm.label}, seed {trial.seed}" for trial, student in students.items()}
    with ground.reporter.stage("students", sum(s.config.recipe.epochs for s in by_key.values())) as stage:
        counter = EpochCounter(stage)

        def watch(key: str, epoch: Epoch) -> None:
            ground.book.student_epoch(key, epoch)
            counter.heard(key, label[key], epoch, by_key[key].config.recipe.epochs)

        def train(some: Mapping[str, Student], until: Mapping[str, int]) -> dict[str, TrainedStudent]:
            return train_students(some, until, ground.config, ground.store, ground.dataset_ref, networks, watch)

        halving = ground.config.study.halving
        outcomes = train_in_rungs(students, halving, train) if halving else train(by_key, {})
    for outcome in outcomes.values():
        ground.book.student_done(outcome)
    return {trial: outcomes[student.key] for trial, student in students.items()}


def _judge(
    ground: _Ground,
    table: pd.DataFrame,
    winner: Winner | None,
    networks: Networks,
    weighed: _Weighed,
    outcomes: Mapping[Trial, TrainedStudent],
) -> Results:
    """Open the test set, once, for all; the winner is known already."""
    distinct = {outcome.student.key: outcome for outcome in outcomes.values()}
    with ground.reporter.stage("test", 1.0) as stage:
        student_scores = judge_students(
            distinct.values(),
            ground.config,
            ground.store,
            ground.dataset_ref,
            lambda done, total: stage.step(done / total, f"{done} of {total} students"),
        )
        mixtures = [(t.replicate, t.arm.assistants, w) for t, w in weighed.weights.items() if w]
        ensemble_scores = judge_ensembles(mixtures, networks, ground.config, ground.dataset_ref)
        network_scores = judge_networks(networks, ground.dataset)
    contrast = ground.config.study.primary
    return Results(
        study=ground.config.study.name,
        trials=tables.add_test_scores(table, student_scores, ensemble_scores),
        networks=tables.networks_table(networks, network_scores),
        curves=tables.curves_table(networks, outcomes),
        contributions=tables.contributions_table(ground.plan, weighed.searches),
        num_classes=ground.dataset.num_classes,
        primary=(contrast.strategy, contrast.against),
        pool=ground.config.pool,
        teacher_cost=_cost(ground, ground.config.teacher),
        student_cost=_cost(ground, ground.config.student),
        winner=winner,
    )


def _cost(ground: _Ground, network: StudentConfig) -> Cost:
    size = cost(training_job.new_model(network.model, ground.dataset, seed=0), training_job.input_shape(ground.dataset))
    return Cost(size.parameters, size.macs, size.bytes)


def _publish(ground: _Ground, tracker: Tracker, networks: Networks, results: Results) -> tuple[Results, Report, bool]:
    """Report, figures and winner: to storage and to MLflow. Returns whether MLflow has all of it."""
    with ground.reporter.stage("report", 1.0):
        report = build(results)
        files = report.files()
        ground.book.networks_judged(networks, results.networks)
        ground.book.trials_judged(results.trials, ground.plan.trials)
        ground.book.end(report.markdown, files, report.headline())
        _ship(ground, tracker, results.winner)
        failed = bool(results.trials["error"].notna().any())
        ground.book.close(failed)
        tracked = tracker.flush(_TRACKING_S)
        run_ids = [tracker.run_id(trial.uid) for trial in ground.plan.trials]
        results = replace(results, trials=results.trials.assign(mlflow_run_id=pd.Series(run_ids, dtype=object)))
        write_report(ground.store, results.study, files)
        # The summary comes last: where it stands, everything does.
        results.write(ground.store)
    return results, report, tracked


def write_report(store: Store, study: str, files: Mapping[str, bytes]) -> None:
    """Put the report's files into the study's folder."""
    for name, content in files.items():
        store.write(f"studies/{study}/{name}", content)


def _ship(ground: _Ground, tracker: Tracker, winner: Winner | None) -> None:
    """Log the winner as an MLflow model, unless the study has shipped this very student before."""
    before = ground.store.read_file(f"studies/{ground.config.study.name}/summary.json")
    shipped = (json.loads(before)["winner"] or {}).get("student_key") if before else None
    if winner is None or winner.student_key == shipped or not ground.config.mlflow.enabled:
        return
    manifest = ground.store.find(student_address(winner.student_key))
    assert manifest is not None, "the winner was finished a moment ago"
    model = ground.plan.student_config(winner.point).model
    student = training_job.load_model(ground.store, manifest, model, ground.dataset)
    with mlflow_model_folder(student, ground.dataset) as folder:
        tracker.model(STUDY, folder, name=MODEL_NAME, register_as=ground.config.mlflow.register_as)
