"""A driver that is ended in the middle of hundreds of trials has all of them closed at MLflow."""

from pathlib import Path

import pytest

from tests.unit.tracking.logged_trials import end_driver_early, study_config


@pytest.mark.timeout(600)
def test_a_study_of_hundreds_of_trials_that_is_broken_off_leaves_none_running(tmp_path: Path) -> None:
    end_driver_early(study_config(tmp_path), num=300)
