"""A study from nothing, the same study again, and the same name with a changed file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.contract.commands import Wetakd, results_of
from tests.contract.conftest import Finished

NUM_SEEDS = 2
# Recipes of the study: two strategies over both assistants, and the controls.
ARMS = {
    ("uniform", ("first", "second")),
    ("de", ("first", "second")),
    ("none", ()),
    ("teacher", ("teacher",)),
    ("single", ("first",)),
    ("single", ("second",)),
}
COLUMNS = {
    "strategy",
    "assistants",
    "num_assistants",
    "assistant_parameters",
    "replicate",
    "seed",
    "point",
    "weights",
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
    "student_key",
    "student_choose_accuracy",
    "student_test_accuracy",
    "student_test_macro_accuracy",
    "student_test_calibration_error",
    "student_test_nll",
    "train_seconds",
    "stopped_at_epoch",
    "error",
    "mlflow_run_id",
}
SUMMARY_KEYS = {
    "study",
    "question",
    "num_classes",
    "primary",
    "pool",
    "teacher_cost",
    "student_cost",
    "spending",
    "winner",
    "sha256",
}
REPORT_KEYS = {
    "study",
    "num_replicates",
    "num_seeds",
    "winner",
    "costs",
    "spending",
    "arms",
    "contrasts",
    "counts",
    "proxies",
    "contributions",
    "errors",
    "verdict",
}
NOTHING_TRAINED = "0 networks and 0 students trained"


def test_study_from_nothing_ends_with_code_0(finished: Finished) -> None:
    assert finished.first.returncode == 0, finished.first.stderr


def test_table_has_frozen_columns(finished: Finished) -> None:
    assert set(finished.wetakd.table().columns) >= COLUMNS


def test_table_has_one_row_per_trial(finished: Finished) -> None:
    table = finished.wetakd.table()
    arms = [(row["strategy"], tuple(row["assistants"])) for row in table.to_dict("records")]
    assert set(arms) == ARMS
    assert len(table) == NUM_SEEDS * len(ARMS)
    assert sorted(table["seed"].unique()) == list(range(NUM_SEEDS))
    assert table["error"].isna().all()
    assert not table.duplicated(["strategy", "replicate", "seed", "student_key"]).any()


def test_networks_and_students_learn(finished: Finished) -> None:
    """Otherwise checks for collapsed networks, which may be added, would stop this study."""
    table = finished.wetakd.table()
    assert (table["student_test_accuracy"] > 0.6).all()
    taught = table[table["strategy"] != "none"]
    assert (taught["ensemble_test_accuracy"] > 0.6).all()


def test_searched_weights_are_on_the_simplex(finished: Finished) -> None:
    table = finished.wetakd.table()
    for weights in table.loc[table["strategy"].isin(["uniform", "de"]), "weights"]:
        assert len(weights) == 2
        assert min(weights) >= 0
        assert sum(weights) == pytest.approx(1)


def test_summary_has_frozen_keys(finished: Finished) -> None:
    summary = json.loads(finished.wetakd.layout.summary("contract").read_text())
    assert set(summary) >= SUMMARY_KEYS
    assert summary["study"] == "contract"
    assert summary["num_classes"] == 10
    assert set(summary["pool"]) == {"first", "second"}


def test_json_report_has_frozen_keys(finished: Finished) -> None:
    report = json.loads(finished.first.stdout)
    assert set(report) >= REPORT_KEYS
    assert report["study"] == "contract"
    assert report["num_seeds"] == NUM_SEEDS
    assert (report["winner"]["strategy"], tuple(report["winner"]["assistants"])) in ARMS


def test_winner_has_the_best_mean_accuracy_on_choose(finished: Finished) -> None:
    table = finished.wetakd.table()
    table["assistants"] = table["assistants"].map(tuple)
    means = table.groupby(["strategy", "assistants"])["student_choose_accuracy"].mean()
    winner = json.loads(finished.first.stdout)["winner"]
    assert means[winner["strategy"], tuple(winner["assistants"])] == pytest.approx(means.max())


def test_all_work_is_stored(finished: Finished) -> None:
    layout = finished.wetakd.layout
    keys = set(finished.wetakd.table()["student_key"])
    assert len(layout.committed("networks")) == 3
    assert len(layout.committed("caches")) == 3
    assert len(layout.committed("students")) == len(keys)
    assert len(layout.committed("evaluations")) >= len(keys)
    assert not layout.lease("contract").exists()


def test_second_run_trains_nothing(finished: Finished) -> None:
    wetakd = finished.wetakd
    table, times = wetakd.table(), wetakd.layout.commit_times()
    again = wetakd.run("--quiet")
    assert again.returncode == 0, again.stderr
    assert NOTHING_TRAINED in again.stdout
    assert wetakd.layout.commit_times() == times
    assert wetakd.table().equals(table)


def test_changed_file_is_refused_until_revised(finished: Finished) -> None:
    """A smaller study on the same storage: it reuses what the first one stored."""
    before = replace(finished.wetakd, name="revised", overrides=("study.controls=[none]",))
    times = before.layout.commit_times()
    reused = before.run("--quiet")
    assert reused.returncode == 0, reused.stderr
    assert NOTHING_TRAINED in reused.stdout
    assert before.layout.commit_times() == times
    results, table = before.results(), finished.wetakd.table()
    assert results.equals(results_of(table[table["strategy"].isin(["uniform", "de", "none"])]))

    after = replace(before, overrides=(*before.overrides, "student.recipe.lr=0.03"))
    refused = after.run("--quiet")
    assert refused.returncode == 2
    assert "student.recipe.lr" in refused.stderr
    assert "--revise" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert before.layout.commit_times() == times
    assert before.results().equals(results)

    revised = after.run("--quiet", "--revise")
    assert revised.returncode == 0, revised.stderr
    accuracy = "student_test_accuracy"
    assert not after.results()[accuracy].equals(results[accuracy])
    now = after.layout.commit_times()
    assert {key: now[key] for key in times} == times
    new = {key for key in now if key not in times}
    assert any(key.startswith("students/") for key in new)
    assert not any(key.startswith(("networks/", "caches/", "searches/")) for key in new)


def test_invalid_field_is_refused(another: Wetakd) -> None:
    refused = another.run("--quiet", "--set", "student.recipe.lr=-1")
    assert refused.returncode == 2
    assert "student.recipe.lr" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""
    assert not another.layout.table("contract").exists()
