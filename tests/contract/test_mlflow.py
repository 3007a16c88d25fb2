"""What MLflow shows of a study."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.contract.commands import EXPERIMENT
from tests.contract.conftest import Finished
from tests.contract.services import MlflowServer, Run

STUDY_TAGS = {"wetakd.uid", "wetakd.study", "wetakd.study_id", "wetakd.question"}
NETWORK_TAGS = STUDY_TAGS | {"kind", "replicate", "seed", "key"}
TRIAL_TAGS = STUDY_TAGS | {"kind", "strategy", "replicate", "seed", "control", "assistant_parameters", "student_key"}
PARENT_TAGS = STUDY_TAGS | {"kind", "wetakd.version", "mlflow.note.content"}
PARENT_PARAMS = {
    "num_assistants",
    "num_seeds",
    "replicates",
    "teacher",
    "student",
    "objective",
    "mixture",
    "temperature",
    "views",
}


@pytest.fixture(scope="module")
def runs(finished: Finished, mlflow_server: MlflowServer) -> list[Run]:
    assert finished.first.returncode == 0, finished.first.stderr
    return mlflow_server.runs(EXPERIMENT, "contract")


def test_study_is_one_parent_run_with_one_child_per_network_and_trial(runs: list[Run], finished: Finished) -> None:
    kinds = Counter(run.kind for run in runs)
    assert kinds == {"study": 1, "teacher": 1, "assistant": 2, "trial": len(finished.wetakd.table())}
    parent = next(run for run in runs if run.kind == "study")
    assert parent.name == "contract"
    assert parent.parent is None
    assert {run.parent for run in runs if run is not parent} == {parent.identity}


def test_all_runs_are_finished(runs: list[Run]) -> None:
    assert {run.status for run in runs} == {"FINISHED"}


def test_parent_describes_the_study(runs: list[Run], finished: Finished) -> None:
    parent = next(run for run in runs if run.kind == "study")
    assert set(parent.tags) >= PARENT_TAGS
    assert set(parent.params) >= PARENT_PARAMS
    assert parent.params["num_assistants"] == "2"
    assert parent.params["num_seeds"] == "2"
    assert {"student_choose_accuracy", "student_test_accuracy"} <= set(parent.metrics)
    choose = finished.wetakd.table().groupby(["strategy", "assistant_parameters"])["student_choose_accuracy"].mean()
    assert parent.metrics["student_choose_accuracy"] <= choose.max() + 1e-12


def test_networks_have_params_metrics_and_tags(runs: list[Run]) -> None:
    networks = [run for run in runs if run.kind in ("teacher", "assistant")]
    assert sorted(run.name for run in networks) == ["first", "second", "teacher"]
    for run in networks:
        assert set(run.tags) >= NETWORK_TAGS
        assert run.params["network"] == run.name
        assert run.params["model"] == "plain"
        assert {"choose_accuracy", "loss", "parameters", "macs", "test_accuracy", "test_nll"} <= set(run.metrics)


def test_trials_have_the_numbers_of_the_table(runs: list[Run], finished: Finished) -> None:
    trials = {run.identity: run for run in runs if run.kind == "trial"}
    table = finished.wetakd.table()
    assert set(table["mlflow_run_id"]) == set(trials)
    for row in table.to_dict("records"):
        run = trials[row["mlflow_run_id"]]
        assert set(run.tags) >= TRIAL_TAGS
        assert run.tags["student_key"] == row["student_key"]
        assert run.tags["seed"] == str(row["seed"])
        assert run.tags["strategy"] == run.params["strategy"] == row["strategy"]
        assert run.params["assistants"] == ("+".join(row["assistants"]) or "none")
        for name in ("student_choose_accuracy", "student_test_accuracy", "student_test_nll"):
            assert run.metrics[name] == pytest.approx(row[name], abs=1e-12)


def test_student_curves_have_one_value_per_epoch(runs: list[Run], mlflow_server: MlflowServer) -> None:
    trial = next(run for run in runs if run.kind == "trial")
    assert mlflow_server.steps(trial, "student_choose_accuracy") == [1, 2, 3, 4]
