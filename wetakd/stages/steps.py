"""The stages of a study, each shown to whoever watches and logged."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import pandas as pd
import ray

from wetakd.cluster.ray_cluster import session_folder
from wetakd.common.errors import UserError
from wetakd.common.progress import Reporter, Stage
from wetakd.config import StudentConfig, StudyConfig
from wetakd.data.dataset import Dataset, load_dataset
from wetakd.data.splits import SplitLabels
from wetakd.export.model_card import student_description
from wetakd.export.shipped_student import MODEL_NAME, save_mlflow_model
from wetakd.models import registry
from wetakd.models.cost import measure_cost
from wetakd.models.latency import latency_ms
from wetakd.plan.outcomes import TrainedNetwork, TrainedStudent
from wetakd.plan.study_plan import Plan, control_weights
from wetakd.plan.study_references import record_references
from wetakd.plan.trials import Student, Trial
from wetakd.report.report import Report, build_report
from wetakd.results import columns
from wetakd.results.cost_records import NetworkCost
from wetakd.results.display_names import recipe_label
from wetakd.results.stored_results import Results
from wetakd.results.winner import Winner
from wetakd.stages import networks as network_room
from wetakd.stages import result_tables, searches, training_job
from wetakd.stages import students as trial_room
from wetakd.stages.epoch_progress import EpochCounter
from wetakd.stages.evaluation import evaluate_ensembles, evaluate_networks, evaluate_students
from wetakd.stages.halving import train_in_rungs
from wetakd.stages.searches import TrialWeights
from wetakd.storage.addresses import student_address, study_path
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import Lease
from wetakd.storage.temporary_folders import temporary_folder
from wetakd.tracking.study_logger import STUDY_RUN, StudyLogger
from wetakd.tracking.tracker import Tracker
from wetakd.training.epoch import Epoch

Networks = Mapping[tuple[int, str], TrainedNetwork]
Outcomes = Mapping[Trial, TrainedStudent]
# MLflow may be this far behind when a study ends; what is not sent by then, `wetakd sync` sends.
TRACKING_S = 120.0


@dataclass(frozen=True)
class Ground:
    """What every stage of a running study stands on."""

    config: StudyConfig
    store: Store
    lease: Lease
    dataset: Dataset
    dataset_ref: ray.ObjectRef[Dataset]
    labels_ref: ray.ObjectRef[SplitLabels]
    plan: Plan
    tracker: Tracker
    study_logger: StudyLogger
    reporter: Reporter

    def stage(self, name: str, total: float) -> AbstractContextManager[Stage]:
        """One part of the study, shown; raises UserError where another driver has taken the study over."""
        self.lease.check()
        return self.reporter.stage(name, total)


def load_data(config: StudyConfig, reporter: Reporter) -> Dataset:
    """Read, decode and split the images."""
    with reporter.stage("data", 1.0) as stage:
        return load_dataset(
            config.data,
            config.splits,
            config.transform,
            memory_share=config.limits.memory_share,
            on_progress=lambda done, total: stage.step(done / total, f"image {done:,} of {total:,}"),
            on_note=reporter.message,
        )


def train_networks(ground: Ground) -> dict[tuple[int, str], TrainedNetwork]:
    """Teachers and assistants with their banks, by (replicate, name)."""
    nodes = {node.uid: node for node in ground.plan.nodes}
    total = sum(node.config.recipe.epochs for node in nodes.values())
    with ground.stage("networks", total) as stage:
        counter = EpochCounter(stage)

        def watch(uid: str, epoch: Epoch) -> None:
            node = nodes[uid]
            ground.study_logger.log_network_epoch(node, epoch)
            counter.reported(uid, node.name, epoch, node.config.recipe.epochs)

        def done(network: TrainedNetwork) -> None:
            node = network.node
            counter.finish(node.uid, node.name, node.config.recipe.epochs, is_stored=not network.trained)

        networks = network_room.train_networks(ground.plan, ground.store, ground.dataset_ref, watch, done)
    for network in networks.values():
        ground.study_logger.log_network_end(network)
        if network.error:
            ground.reporter.message(f"failed    {network.node.uid}: {network.error}")
    return networks


def search_weights(ground: Ground, networks: Networks) -> TrialWeights:
    """Weights for every trial whose networks did not fail."""
    errors = {}
    for trial in ground.plan.trials:
        failed = [name for name in trial.arm.assistants if networks[trial.replicate, name].error]
        if failed:
            errors[trial] = f"network {failed[0]} failed: {networks[trial.replicate, failed[0]].error}"
    trials = [trial for trial in ground.plan.trials if trial not in errors]
    with ground.stage("weights", 1.0) as stage:
        found = searches.search_weights(
            ground.plan,
            trials,
            networks,
            ground.store,
            ground.labels_ref,
            lambda done, total: stage.step(done / max(total, 1), f"{done} of {total} sets of networks"),
        )
    key_of = {trial: ground.plan.search(trial).key for trial in trials if trial.arm.is_searched}
    errors |= {trial: found.errors[key] for trial, key in key_of.items() if key in found.errors}
    results = {trial: found.results[key] for trial, key in key_of.items() if trial not in errors}
    weights = {
        trial: tuple(results[trial].weights.tolist()) if trial in results else control_weights(trial)
        for trial in trials
        if trial not in errors
    }
    return TrialWeights(weights, results, found, errors)


def train_students(ground: Ground, networks: Networks, trial_weights: TrialWeights) -> dict[Trial, TrainedStudent]:
    """The student of every trial that has weights; equal students are trained once."""
    students = {trial: ground.plan.student(trial, weights) for trial, weights in trial_weights.weights.items()}
    record_references(ground.store, ground.plan, {student.key for student in students.values()})
    ground.study_logger.set_students({trial: student.key for trial, student in students.items()})
    by_key = {student.key: student for student in students.values()}
    label = {
        student.key: f"{recipe_label(trial.arm.strategy, trial.arm.assistants, trial.arm.point)}, seed {trial.seed}"
        for trial, student in students.items()
    }
    with ground.stage("students", sum(s.config.recipe.epochs for s in by_key.values())) as stage:
        counter = EpochCounter(stage)

        def watch(key: str, epoch: Epoch) -> None:
            num_epochs = by_key[key].config.recipe.epochs
            ground.study_logger.log_student_epoch(key, epoch, num_epochs)
            counter.reported(key, label[key], epoch, num_epochs)

        def finish(key: str) -> None:
            counter.finish(key, label[key], by_key[key].config.recipe.epochs)

        def train(some: Mapping[str, Student], until: Mapping[str, int]) -> dict[str, TrainedStudent]:
            for key in by_key.keys() - some.keys():  # pruned
                finish(key)
            outcomes = trial_room.train_students(
                some, until, ground.config, ground.store, ground.dataset_ref, networks, watch, finish
            )
            for key in (key for key, outcome in outcomes.items() if outcome.error):
                finish(key)
            return outcomes

        halving = ground.config.study.halving
        outcomes = train_in_rungs(students, halving, train) if halving else train(by_key, {})
    for outcome in outcomes.values():
        ground.study_logger.log_student_end(outcome)
    return {trial: outcomes[student.key] for trial, student in students.items()}


def evaluate(
    ground: Ground,
    table: pd.DataFrame,
    winner: Winner | None,
    networks: Networks,
    trial_weights: TrialWeights,
    outcomes: Outcomes,
) -> Results:
    """Open the test set, once, for all; the winner is known already."""
    distinct = {outcome.student.key: outcome for outcome in outcomes.values()}
    with ground.stage("test", 1.0) as stage:
        student_scores = evaluate_students(
            distinct.values(),
            ground.config,
            ground.store,
            ground.dataset_ref,
            lambda done, total: stage.step(done / max(total, 1), f"{done} of {total} students"),
        )
        mixtures = [(t.replicate, t.arm.assistants, w) for t, w in trial_weights.weights.items() if w]
        ensemble_scores = evaluate_ensembles(mixtures, networks, ground.config, ground.labels_ref)
        network_scores = evaluate_networks(networks, ground.dataset)
    networks_table = result_tables.networks_table(networks, network_scores)
    return Results(
        study=ground.config.study.name,
        question=ground.config.question,
        trials=result_tables.add_test_scores(table, student_scores, ensemble_scores),
        networks=networks_table,
        curves=result_tables.curves_table(networks, outcomes),
        contributions=result_tables.contributions_table(ground.plan, trial_weights.searches),
        num_classes=ground.dataset.num_classes,
        primary=ground.config.study.declared,
        pool=ground.config.pool,
        teacher_cost=None if ground.config.teacher.logits else _cost(ground, ground.config.teacher),
        student_cost=_cost(ground, ground.config.student, timed=winner is not None),
        spending=result_tables.spending(ground.plan, table, networks_table, trial_weights.searches),
        winner=winner,
    )


def _cost(ground: Ground, network: StudentConfig, *, timed: bool = False) -> NetworkCost:
    """`timed`: measure its latency here and now, when students are done and nothing else of the study runs."""
    model, shape = (
        registry.new_model(network.model, ground.dataset, seed=0),
        registry.input_shape(ground.dataset),
    )
    size = measure_cost(model, shape)
    return NetworkCost(size.parameters, size.macs, size.bytes, latency_ms(model, shape) if timed else None)


def publish(ground: Ground, networks: Networks, results: Results) -> tuple[Results, Report, bool]:
    """Report, figures and winner: to storage and to MLflow. Returns whether MLflow has all of it."""
    with ground.stage("report", 1.0):
        report = build_report(results)
        files = report.files()
        ground.study_logger.log_networks(networks, results.networks)
        ground.study_logger.log_trials(results.trials, ground.plan.trials)
        shown = files | {"trials.csv": results.trials.drop(columns=columns.MLFLOW_RUN_ID).to_csv(index=False).encode()}
        ground.study_logger.log_report(
            report.description, shown, report.headline(), int(results.trials[columns.ERROR].isna().sum())
        )
        _ship(ground, results)
        failed = bool(results.trials[columns.ERROR].notna().any())
        ground.study_logger.end_study(failed)
        tracked = ground.tracker.flush(TRACKING_S)
        run_ids = [ground.tracker.run_id(trial.uid) for trial in ground.plan.trials]
        results = replace(results, trials=results.trials.assign(mlflow_run_id=pd.Series(run_ids, dtype=object)))
        ground.lease.check()
        ended = results.trials[results.trials[columns.STOPPED_AT_EPOCH].isna()][columns.STUDENT_KEY].dropna()
        record_references(ground.store, ground.plan, ended, replace=True)  # not what pruned students left
        write_report(ground.store, results.study, files)
        # The summary comes last: where it stands, everything does.
        results.write(ground.store)
    # As storage has it, so that a run and its rerun, which only reads, give the same rows in the same order.
    return Results.read(ground.store, results.study), report, tracked


def write_report(store: Store, study: str, files: Mapping[str, bytes]) -> None:
    """Put the report's files into the study's folder."""
    for name, content in files.items():
        store.write(study_path(study, name), content)


def _shipped_before(ground: Ground) -> str | None:
    try:
        winner = Results.read(ground.store, ground.config.study.name).winner
    except UserError:  # none yet, or damaged
        return None
    return winner.student_key if winner else None


def _ship(ground: Ground, results: Results) -> None:
    """Log the winner as an MLflow model, unless the study has shipped this very student before."""
    winner = results.winner
    if winner is None or winner.student_key == _shipped_before(ground) or not ground.config.mlflow.enabled:
        return
    manifest = ground.store.find(student_address(winner.student_key))
    assert manifest is not None, "the winner was finished a moment ago"
    block = ground.plan.student_config(winner.point)
    student = training_job.load_model(ground.store, manifest, block.model, ground.dataset)
    text = student_description(ground.config, block, ground.dataset, results)
    with temporary_folder(ground.store, results.study, session=session_folder()) as folder:
        save_mlflow_model(student, ground.dataset, folder / MODEL_NAME)
        ground.tracker.log_model(
            STUDY_RUN,
            str(folder / MODEL_NAME),
            name=MODEL_NAME,
            description=text,
            register_as=ground.config.mlflow.register_as,
        )
