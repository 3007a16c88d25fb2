"""The study logger, on a real SQLite store: every run ends as what it was, also where the driver is broken off."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from wetakd.config import StudyConfig
from wetakd.config.study_file import check_tree
from wetakd.plan.outcomes import TrainedStudent
from wetakd.plan.trials import Arm, Student, Trial
from wetakd.storage.atomic_store import Store
from wetakd.tracking.event_journal import Event, EventJournal
from wetakd.tracking.mlflow_tracker import open_tracker
from wetakd.tracking.run_identity import split_run_key
from wetakd.tracking.study_logger import _TRIAL_METRICS, STUDY_RUN, StudyLogger
from wetakd.tracking.tracker import Tracker
from wetakd.training.epoch import Epoch

FLUSH_S = 240.0
NUM_EPOCHS = 2


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    network = {"model": {"name": "plain"}}
    tree = {"study": {"name": "s"}, "data": {"source": "digits"}, "teacher": network, "assistants": {"a": network}}
    return check_tree(tree | {"student": network, "storage": str(tmp_path)})


def trials(num: int) -> list[Trial]:
    return [Trial(Arm("none", ()), replicate=0, seed=seed) for seed in range(num)]


def began(tracker: Tracker, config: StudyConfig, num: int) -> StudyLogger:
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


def outcome(key: str, config: StudyConfig, **fields: Any) -> TrainedStudent:
    return TrainedStudent(Student(key, config.student, "float32", 0, (), ()), trained=True, **fields)


def statuses(config: StudyConfig) -> dict[str, str]:
    """How the runs are at MLflow, by uid."""
    uids = "SELECT value, status FROM runs JOIN tags USING (run_uuid) WHERE key = 'wetakd.uid'"
    with contextlib.closing(sqlite3.connect(f"{config.storage}/mlflow.db")) as database:
        return dict(database.execute(uids))


def events(config: StudyConfig) -> list[Event]:
    """What stands in the journal."""
    with contextlib.closing(EventJournal(Store(config.storage), "s")) as journal:
        return list(journal.read())


def test_a_trials_run_ends_with_its_student(config: StudyConfig) -> None:
    uids = [trial.uid for trial in trials(4)]
    with open_tracker(config, Store(config.storage)) as tracker:
        study_logger = began(tracker, config, num=4)
        for key in ("0", "1"):
            study_logger.log_student_epoch(key, epoch(NUM_EPOCHS), NUM_EPOCHS)
        assert tracker.flush(FLUSH_S)
        running = dict.fromkeys(uids[2:], "RUNNING")
        assert statuses(config) == {STUDY_RUN: "RUNNING", uids[0]: "FINISHED", uids[1]: "FINISHED", **running}
        study_logger.log_student_end(outcome("1", config, error="its weights could not be written"))
        study_logger.log_student_end(outcome("2", config, stopped_at=epoch(1)))
        study_logger.log_student_end(outcome("3", config, error="the loss is no number"))
        ended = ["FINISHED", "FAILED", "KILLED", "FAILED"]
        table = [
            dict.fromkeys(_TRIAL_METRICS, 0.5)
            | {"student_key": str(place), "weights": None, "error": "it failed" if status == "FAILED" else None}
            | {"stopped_at_epoch": 1 if status == "KILLED" else np.nan}
            for place, status in enumerate(ended)
        ]
        study_logger.log_trials(pd.DataFrame(table, dtype=object), trials(4))
        study_logger.end_killed_runs()
    kinds = [event.kind for event in events(config)]
    assert (kinds.count("open"), kinds.count("close")) == (5, 6), "only the second was closed twice"
    assert statuses(config) == {STUDY_RUN: "KILLED", **dict(zip(uids, ended, strict=True))}


def test_a_study_that_is_broken_off_leaves_nothing_running(config: StudyConfig) -> None:
    break_off(config, num=20)


def break_off(config: StudyConfig, num: int) -> None:
    """End a driver in the middle of `num` trials, the first of which is finished."""
    first, *others = [trial.uid for trial in trials(num)]

    def drive() -> None:
        with open_tracker(config, Store(config.storage)) as tracker:
            study_logger = began(tracker, config, num)
            study_logger.log_student_epoch("0", epoch(NUM_EPOCHS), NUM_EPOCHS)
            assert tracker.flush(FLUSH_S)
            study_logger.end_killed_runs()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive()
    closed = [split_run_key(event.uid)[0] for event in events(config) if event.kind == "close"]
    assert closed[:2] == [first, STUDY_RUN], "the run that stands for all comes first, should time be short"
    assert statuses(config) == {STUDY_RUN: "KILLED", first: "FINISHED"} | dict.fromkeys(others, "KILLED")
