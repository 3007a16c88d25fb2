"""Numbers of the report beyond the contrasts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.unit.simulated_results import share_students, simulated
from wetakd.results.ensemble_student_correlation import ensemble_student_pairs
from wetakd.results.findings import Findings, compute_findings
from wetakd.results.stored_results import Results


def with_trials(results: Results, trials: object) -> Results:
    return Results(**{**results.__dict__, "trials": trials})


def row_of(findings: Findings, label: str) -> dict[str, object]:
    return next(row.to_dict() for row in findings.rows if row.arm.label == label)


def test_a_row_says_what_the_table_needs() -> None:
    findings = compute_findings(simulated(num_seeds=4, effects={"de": 0.02}))
    row = row_of(findings, "DE ta8+ta6+ta4")
    assert row["sizes"] == [327_962, 82_778, 37_338]
    assert row["num_students"] == 4
    assert row["versus_uniform"]["mean"] == pytest.approx(0.02, abs=0.01)  # type: ignore[index]
    assert row["versus_none"]["mean"] == pytest.approx(0.05, abs=0.01)  # type: ignore[index]
    assert row["crossfit_gain"] == pytest.approx(0.001)
    assert row_of(findings, "uniform ta8+ta6+ta4")["versus_uniform"] is None
    assert row_of(findings, "no distillation")["versus_none"] is None
    assert row_of(findings, "single ta8")["versus_uniform"] is None


def test_the_same_students_are_not_held_against_uniform() -> None:
    results = simulated()
    findings = compute_findings(with_trials(results, share_students(results.trials, "de", like="uniform")))
    row = row_of(findings, "DE ta8+ta6+ta4")
    assert row["versus_uniform"] is None
    assert row["same_as"] == "uniform ta8+ta6+ta4"
    assert row["versus_none"] is not None


def test_exactly_one_row_is_the_winner() -> None:
    findings = compute_findings(simulated(effects={"de": 0.05}))
    assert [row.arm.strategy for row in findings.rows if row.is_winner] == ["de"]


def test_a_proxy_that_ranks_students_is_found_whatever_its_measure() -> None:
    results = simulated()
    trials = results.trials.copy()
    mixed = trials["num_assistants"] > 0
    trials.loc[mixed, "ensemble_choose_accuracy"] = trials["student_test_accuracy"] / 2
    trials.loc[mixed, "ensemble_choose_nll"] = 1 - trials["student_test_accuracy"]
    overall = [
        relation for relation in compute_findings(with_trials(results, trials)).correlations if not relation.where
    ]
    assert [relation.measure for relation in overall] == ["accuracy", "log-loss"]
    for relation in overall:
        assert relation.correlation.rho == pytest.approx(1)
        assert relation.correlation.p_value < 0.001


def test_the_same_students_are_one_point_of_the_proxy() -> None:
    results = simulated()
    findings = compute_findings(with_trials(results, share_students(results.trials, "convex", like="de")))
    overall = next(relation for relation in findings.correlations if not relation.where)
    assert overall.correlation.num == 26
    labels = [arm.label for arm, _, _ in ensemble_student_pairs([row.arm for row in findings.rows], "accuracy")]
    assert "no distillation" not in labels


def test_what_an_assistant_adds() -> None:
    findings = compute_findings(simulated(replicates=3, count_effect=0.01, noise=0.0005))
    first = findings.contributions[0]
    assert first.name == "ta8"
    assert first.shapley is not None
    assert first.shapley.num == 3
    assert first.shapley.mean == pytest.approx(0.301)
    assert first.student_loss is not None
    assert first.student_loss.mean == pytest.approx(0.01, abs=0.002)
    assert sum(c.weight or 0 for c in findings.contributions) == pytest.approx(1)


def test_errors_are_counted_by_what_they_said() -> None:
    results = simulated()
    errors = np.where(results.trials["strategy"] == "de", "loss is NaN", None)
    findings = compute_findings(with_trials(results, results.trials.assign(error=errors)))
    assert findings.errors == {"loss is NaN": 12}


def test_everything_is_json() -> None:
    for results in (simulated(), simulated(num_seeds=1, pool=("ta6",)), simulated(controls=())):
        json.dumps(compute_findings(results).to_dict(), allow_nan=False)
