"""A study logger over trials that have begun, and what MLflow and the journal hold of them."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from wetakd.config import StudyConfig
from wetakd.config.study_file import config_from_tree
from wetakd.plan.trials import Arm, Trial
from wetakd.storage.atomic_store import Store
from wetakd.tracking.event_journal import Event, EventJournal
from wetakd.tracking.mlflow_tracker import open_tracker
from wetakd.tracking.run_identity import split_run_key
from wetakd.tracking.study_logger import STUDY_RUN, StudyLogger
from wetakd.tracking.tracker import Tracker
from wetakd.training.epoch import Epoch

FLUSH_S = 240.0
NUM_EPOCHS = 2


def study_config(storage: Path) -> StudyConfig:
    network = {"model": {"name": "plain"}}
    tree = {"study": {"name": "s"}, "data": {"source": "digits"}, "teacher": network, "assistants": {"a": network}}
    return config_from_tree(tree | {"student": network, "storage": str(storage)})


def trials(num: int) -> list[Trial]:
    return [Trial(Arm("none", ()), replicate=0, seed=seed) for seed in range(num)]


def started_logger(tracker: Tracker, config: StudyConfig, num: int) -> StudyLogger:
    """A study logger over trials with a student each, all of which have done one epoch."""
    tracker.start_run(STUDY_RUN, name="s", tags={"kind": "study"})
    study_logger = StudyLogger(tracker, config)
    study_logger._started.add(STUDY_RUN)
    study_logger._running.add(STUDY_RUN)
    study_logger.set_students({trial: str(trial.seed) for trial in trials(num)})
    for trial in trials(num):
        study_logger.log_student_epoch(str(trial.seed), epoch(1), NUM_EPOCHS)
    return study_logger


def epoch(number: int) -> Epoch:
    return Epoch(number, loss=0.5, lr=0.1, choose_accuracy=0.5, choose_nll=0.7, seconds=0.1)


def run_statuses(config: StudyConfig) -> dict[str, str]:
    """How the runs are at MLflow, by uid."""
    uids = "SELECT value, status FROM runs JOIN tags USING (run_uuid) WHERE key = 'wetakd.uid'"
    with contextlib.closing(sqlite3.connect(f"{config.storage}/mlflow.db")) as database:
        return dict(database.execute(uids))


def journal_events(config: StudyConfig) -> list[Event]:
    """What stands in the journal."""
    with contextlib.closing(EventJournal(Store(config.storage), "s")) as journal:
        return list(journal.read())


def end_driver_early(config: StudyConfig, num: int) -> None:
    """End a driver in the middle of `num` trials, the first of which is finished."""
    first, *others = [trial.uid for trial in trials(num)]

    def drive() -> None:
        with open_tracker(config, Store(config.storage)) as tracker:
            study_logger = started_logger(tracker, config, num)
            study_logger.log_student_epoch("0", epoch(NUM_EPOCHS), NUM_EPOCHS)
            assert tracker.flush(FLUSH_S)
            study_logger.end_killed_runs()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive()
    closed = [split_run_key(event.uid)[0] for event in journal_events(config) if event.kind == "close"]
    assert closed[:2] == [first, STUDY_RUN], "the run that stands for all comes first, should time be short"
    assert run_statuses(config) == {STUDY_RUN: "KILLED", first: "FINISHED"} | dict.fromkeys(others, "KILLED")
