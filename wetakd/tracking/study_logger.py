"""Turns the events of a study into calls of the tracker: which runs MLflow shows, and what is in each.

One parent run a study; below it one run a network and one a trial. The tracker journals the calls, sends them, and
never doubles anything.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from wetakd.config import TEACHER, ModelConfig, StudyConfig
from wetakd.config.study_record import recorded_tree
from wetakd.config.yaml_text import write_yaml
from wetakd.data.dataset import Dataset
from wetakd.plan.outcomes import TrainedNetwork, TrainedStudent
from wetakd.plan.trials import NetworkNode, Trial
from wetakd.results import columns
from wetakd.results.display_names import recipe_label
from wetakd.results.winner import STRATEGY_ORDER
from wetakd.tracking.environment import code_version, environment
from wetakd.tracking.tracker import Status, Tracker
from wetakd.training.epoch import Epoch

STUDY_RUN = "study"


class StudyLogger:
    """Logs the runs of one study to a tracker."""

    def __init__(self, tracker: Tracker, config: StudyConfig) -> None:
        self._tracker = tracker
        self._config = config
        self._started: set[str] = set()
        self._running: set[str] = set()
        self._curves: set[str] = set()
        self._parameters: dict[tuple[int, str], int] = {}
        self._trials_of: dict[str, list[Trial]] = defaultdict(list)

    def log_study(self, dataset: Dataset) -> None:
        """Open the parent run."""
        config = self._config
        params = {
            "num_assistants": len(config.assistants),
            "num_seeds": len(config.study.seeds),
            "replicates": config.study.replicates,
            "teacher": _model_text(config.teacher.model),
            "student": _model_text(config.student.model),
            "objective": config.weights.objective,
            "mixture": config.weights.mixture,
            "temperature": config.student.distillation.temperature,
            "views": config.views.num,
        }
        self._start_run(
            STUDY_RUN, config.study.name, params=params, tags={"kind": "study", **code_version()}, parent=None
        )
        profile = {split: len(getattr(dataset.splits, split)) for split in ("fit", "weigh", "choose", "test")}
        self._tracker.log_dataset(
            STUDY_RUN,
            name=config.data.source,
            digest=dataset.fingerprint[:12],
            source=config.data.source,
            profile=profile,
        )
        self._tracker.log_artifact(STUDY_RUN, "study.yaml", write_yaml(recorded_tree(config)).encode())
        self._tracker.log_artifact(STUDY_RUN, "environment.json", json.dumps(environment(), indent=2).encode())

    def log_network_epoch(self, node: NetworkNode, epoch: Epoch) -> None:
        """One epoch of a teacher or an assistant."""
        self._start_network_run(node)
        self._log_epoch(node.uid, epoch)

    def log_network_end(self, network: TrainedNetwork) -> None:
        """A network is finished or has failed: complete its curve."""
        node = network.node
        self._start_network_run(node)
        for epoch in network.facts.epochs if network.facts else ():
            self._log_epoch(node.uid, epoch)
        if network.facts and network.facts.parameters is not None:
            self._parameters[node.replicate, node.name] = network.facts.parameters
        if network.error:
            self._tracker.set_tags(network.node.uid, {"error": network.error})
            self._end_run(network.node.uid, "FAILED")

    def log_networks(self, networks: Mapping[tuple[int, str], TrainedNetwork], table: pd.DataFrame) -> None:
        """Final numbers of every network (one row each, in order), and the end of its run."""
        for row, network in zip(table.to_dict("records"), networks.values(), strict=True):
            if network.error is None:
                self._tracker.log_metrics(network.node.uid, _finite_metrics(row, _NETWORK_METRICS))
                self._end_run(network.node.uid, "FINISHED")

    def set_students(self, trials: Mapping[Trial, str]) -> None:
        """Which student (by key) each trial trains; several trials may share one."""
        self._trials_of.clear()
        for trial, student_key in trials.items():
            self._trials_of[student_key].append(trial)

    def log_student_epoch(self, student_key: str, epoch: Epoch, num_epochs: int) -> None:
        """One epoch of `num_epochs` of a student, in the run of every trial that it serves; the last one ends it.

        What is found out later, the test set above all, MLflow takes in a run that has ended, too.
        """
        for trial in self._trials_of[student_key]:
            self._start_trial_run(trial)
            self._log_epoch(trial.uid, epoch, "student_")
            if epoch.epoch == num_epochs:
                self._end_run(trial.uid, "FINISHED")

    def log_student_end(self, outcome: TrainedStudent) -> None:
        """A student is finished, stopped or has failed: complete its curves, and end its runs."""
        for trial in self._trials_of[outcome.student.key]:
            self._start_trial_run(trial)
            for epoch in outcome.facts.epochs if outcome.facts else ():
                self._log_epoch(trial.uid, epoch, "student_")
            self._end_run(trial.uid, _status(failed=outcome.error is not None, stopped=outcome.stopped_at is not None))

    def log_trials(self, table: pd.DataFrame, trials: Sequence[Trial]) -> None:
        """Final numbers of every trial (one row each, in order), and the end of its run where it had no student."""
        for row, trial in zip(table.to_dict("records"), trials, strict=True):
            self._start_trial_run(trial)
            # A number without steps is a bar in MLflow; what has a curve ends where its curve does.
            names = [name for name in _TRIAL_METRICS if name != _HEADLINE or trial.uid not in self._curves]
            self._tracker.log_metrics(
                trial.uid, {_metric_name(name): value for name, value in _finite_metrics(row, names).items()}
            )
            self._tracker.set_tags(trial.uid, _trial_tags(row))
            self._end_run(
                trial.uid, _status(failed=bool(row[columns.ERROR]), stopped=not pd.isna(row[columns.STOPPED_AT_EPOCH]))
            )

    def log_report(
        self, description: str, files: Mapping[str, bytes], summary: Mapping[str, float], num_done: int
    ) -> None:
        """The verdict, the table and the figures; the parent run stays open for the winner.

        `num_done`: how many trials the summary rests on. A study that lacked some, and is run again, says it anew.
        """
        self._tracker.set_tags(STUDY_RUN, {"mlflow.note.content": description})
        self._tracker.log_metrics(STUDY_RUN, summary, step=num_done)
        for path, data in files.items():
            self._tracker.log_artifact(STUDY_RUN, path, data)

    def end_study(self, failed: bool) -> None:
        """The study is over."""
        self._end_run(STUDY_RUN, "FAILED" if failed else "FINISHED")

    def end_killed_runs(self) -> None:
        """The driver is stopping before the end: nothing is left running. The study comes first: time may be short."""
        for uid in sorted(self._running, key=lambda uid: (uid != STUDY_RUN, uid)):
            self._end_run(uid, "KILLED")

    def _log_epoch(self, uid: str, epoch: Epoch, prefix: str = "") -> None:
        """The accuracy comes first: MLflow's compare page opens with the metric that was noted first."""
        values = {
            f"{prefix}choose_accuracy": epoch.choose_accuracy,
            f"{prefix}choose_nll": epoch.choose_nll,
            "loss": epoch.loss,
            "lr": epoch.lr,
        }
        self._curves.add(uid)
        self._tracker.log_metrics(uid, values, step=epoch.epoch)

    def _start_network_run(self, node: NetworkNode) -> None:
        if node.uid in self._started:
            return
        kind = "teacher" if node.name == TEACHER else "assistant"
        params = {
            "network": node.name,
            "model": node.config.model.name,
            **{f"model.{name}": value for name, value in node.config.model.options.items()},
            "epochs": node.config.recipe.epochs,
            "lr": node.config.recipe.lr,
            "taught_by": "+".join(node.teachers),
        }
        tags = {"kind": kind, "replicate": str(node.replicate), "seed": str(node.seed), "key": node.key}
        name = node.name if self._config.study.replicates == 1 else f"{node.name} r{node.replicate}"
        self._start_run(node.uid, name, params=params, tags=tags)

    def _start_trial_run(self, trial: Trial) -> None:
        if trial.uid in self._started:
            return
        arm = trial.arm
        sizes = [self._parameters.get((trial.replicate, name)) for name in arm.assistants]
        # Few, for MLflow's compare page, which opens on the first three by name. What is a category has a number
        # beside it, for scatter and contour plots.
        params = {
            "strategy": arm.strategy,
            "num_assistants": len(arm.assistants),
            "assistants": "+".join(arm.assistants) or "none",
            "strategy_number": STRATEGY_ORDER.index(arm.strategy) if arm.strategy in STRATEGY_ORDER else None,
            "total_assistant_parameters": None if None in sizes else sum(size for size in sizes if size),
            **arm.point.values,
        }
        params = {name: value for name, value in params.items() if value is not None}
        tags = {
            "kind": "trial",
            "strategy": arm.strategy,
            "replicate": str(trial.replicate),
            "seed": str(trial.seed),
            "control": str(not arm.is_searched).lower(),
            "assistant_parameters": "+".join(str(size or "?") for size in sizes) or "none",
        }
        name = f"{recipe_label(arm.strategy, arm.assistants, arm.point)} s{trial.seed}"
        self._start_run(trial.uid, name, params=params, tags=tags)

    def _start_run(
        self, uid: str, name: str, *, params: Mapping[str, Any], tags: Mapping[str, str], parent: str | None = STUDY_RUN
    ) -> None:
        self._started.add(uid)
        self._running.add(uid)
        self._tracker.start_run(uid, name=name, parent=parent, params=params, tags=tags)

    def _end_run(self, uid: str, status: Status) -> None:
        self._running.discard(uid)
        self._tracker.end_run(uid, status)


def _status(*, failed: bool, stopped: bool) -> Status:
    return "FAILED" if failed else "KILLED" if stopped else "FINISHED"


_HEADLINE = "student_choose_accuracy"
_NETWORK_METRICS = ("parameters", "macs", "test_accuracy", "test_nll", "train_seconds")
_TRIAL_METRICS = (
    "evaluations",
    "search_seconds",
    "accuracy_cap",
    "gap",
    "crossfit_gain",
    "crossfit_error",
    "ensemble_weigh_accuracy",
    "ensemble_weigh_nll",
    "ensemble_choose_accuracy",
    "ensemble_choose_nll",
    "ensemble_test_accuracy",
    "ensemble_test_nll",
    "student_choose_accuracy",
    "student_test_accuracy",
    "student_test_macro_accuracy",
    "student_test_calibration_error",
    "student_test_nll",
    "train_seconds",
)


def _metric_name(name: str) -> str:
    """A trial's metric at MLflow, prefix charts stand by name: first the student and its curves, then its weights."""
    return name if name.startswith(("student_", "train_")) else f"weights_{name}"


def _model_text(model: ModelConfig) -> str:
    """A network's model, such as `plain depth=10`."""
    return " ".join([model.name, *(f"{name}={value}" for name, value in model.options.items())])


def _finite_metrics(row: Mapping[Any, Any], names: Sequence[str]) -> dict[str, float]:
    """The numbers of a row that are there."""
    return {name: float(row[name]) for name in names if not pd.isna(row[name])}


def _trial_tags(row: Mapping[Any, Any]) -> dict[str, str]:
    tags = {"student_key": row[columns.STUDENT_KEY], "weights": row[columns.WEIGHTS], "error": row[columns.ERROR]}
    tags["pruned"] = None if pd.isna(row[columns.STOPPED_AT_EPOCH]) else "true"
    return {name: str(value) for name, value in tags.items() if value}
