"""The study logger, on a real SQLite store: every run ends as what it was, also where the driver is broken off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.unit.tracking.logged_trials import (
    FLUSH_S,
    NUM_EPOCHS,
    end_driver_early,
    epoch,
    journal_events,
    run_statuses,
    started_logger,
    study_config,
    trials,
)
from wetakd.config import StudyConfig
from wetakd.plan.outcomes import TrainedStudent
from wetakd.plan.trials import Student
from wetakd.storage.atomic_store import Store
from wetakd.tracking.mlflow_tracker import open_tracker
from wetakd.tracking.study_logger import _TRIAL_METRICS, STUDY_RUN


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    return study_config(tmp_path)


def outcome(key: str, config: StudyConfig, **fields: Any) -> TrainedStudent:
    return TrainedStudent(Student(key, config.student, "float32", 0, (), (), {}), trained=True, **fields)


def test_a_trials_run_ends_with_its_student(config: StudyConfig) -> None:
    uids = [trial.uid for trial in trials(4)]
    with open_tracker(config, Store(config.storage)) as tracker:
        study_logger = started_logger(tracker, config, num=4)
        for key in ("0", "1"):
            study_logger.log_student_epoch(key, epoch(NUM_EPOCHS), NUM_EPOCHS)
        assert tracker.flush(FLUSH_S)
        running = dict.fromkeys(uids[2:], "RUNNING")
        assert run_statuses(config) == {STUDY_RUN: "RUNNING", uids[0]: "FINISHED", uids[1]: "FINISHED", **running}
        study_logger.log_student_end(outcome("1", config, error="its weights could not be written"))
        study_logger.log_student_end(outcome("2", config, stopped_epochs=(epoch(1),)))
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
    kinds = [event.kind for event in journal_events(config)]
    assert (kinds.count("open"), kinds.count("close")) == (5, 6), "only the second was closed twice"
    assert run_statuses(config) == {STUDY_RUN: "KILLED", **dict(zip(uids, ended, strict=True))}


def test_a_study_that_is_broken_off_leaves_nothing_running(config: StudyConfig) -> None:
    end_driver_early(config, num=20)
