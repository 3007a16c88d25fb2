"""A driver that is ended in the middle of hundreds of trials has all of them closed at MLflow."""

import pytest

from tests.unit.tracking.test_study_logger import break_off, config
from wetakd.config import StudyConfig

__all__ = ["config"]


@pytest.mark.timeout(600)
def test_a_study_of_hundreds_of_trials_that_is_broken_off_leaves_none_running(config: StudyConfig) -> None:
    break_off(config, num=300)
