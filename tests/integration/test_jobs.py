"""The embedded study runs from its first line to its last, reduced to an epoch a network and one set of assistants.

Its teacher is trained by a worker group of Ray Train, its assistants by tasks.
"""

from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from tests import reduced_job_files
from wetakd import Study
from wetakd.config.study_file import load_study_file

STRATEGIES = {"uniform", "random", "random_search", "de", "greedy", "convex"}


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(600)
def test_digits_runs_end_to_end_and_a_second_run_trains_nothing(tmp_path: Path) -> None:
    config = load_study_file(
        reduced_job_files.path("digits"),
        reduced_job_files.reduced("digits", tmp_path, **{"study.subsets": [3], "teacher.workers": 1}),
    )
    result = Study(config).run()
    assert result.exit_code == 0
    assert result.num_networks_trained == 4

    table = pd.read_parquet(tmp_path / "runs" / "studies" / "digits" / "trials.parquet")
    assert set(table["strategy"]) == STRATEGIES | {"none", "teacher", "single", "dgkd"}
    arms = len(STRATEGIES) + 3 + 3  # over all three assistants; three single ones; the other controls
    assert len(table) == arms * 2
    assert table["error"].isna().all()
    assert table["student_test_accuracy"].between(0, 1).all()
    assert result.num_students_trained == table["student_key"].nunique()

    server = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    (experiment,) = server.search_experiments(filter_string="name = 'wetakd'")
    (model,) = server.search_logged_models([experiment.experiment_id])
    assert (model.name, model.status) == ("student", LoggedModelStatus.READY)

    again = Study(config).run()
    assert (again.num_networks_trained, again.num_students_trained, again.exit_code) == (0, 0, 0)
    pd.testing.assert_frame_equal(again.table, result.table)
