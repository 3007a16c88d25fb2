"""What failed is counted by networks and distinct students, not by rows of the table."""

from __future__ import annotations

import pandas as pd

from tests.unit.simulated_results import (
    POOL,
    replaced,
    simulated,
    with_failed_networks,
    with_shared_failed_student,
)
from wetakd.report.report import build_report
from wetakd.report.verdict_sentences import verdict
from wetakd.results.failure_counts import FailedNetwork, FailedSearches, FailedStudents
from wetakd.results.findings import compute_findings
from wetakd.results.stored_results import Results


def said(results: Results) -> str:
    """The statement on failures, with its items."""
    (statement,) = [s for s in verdict(compute_findings(results)) if s.question == "What failed"]
    return " ".join([statement.answer, *statement.items])


def test_a_student_that_three_rows_share_failed_once() -> None:
    results = with_shared_failed_student()
    found = compute_findings(results).failures
    assert found.students == (FailedStudents("the loss is nan", num_students=1, num_trials=3),)
    assert (found.num_students, found.num_trials, found.networks) == (1, 3, ())
    assert said(results) == (
        "1 student failed; 3 trials have no student: 1 student (shared by 3 trials): the loss is nan"
    )


def test_a_failed_network_is_named_once_with_its_reason_and_no_student_failed() -> None:
    results = with_failed_networks({"ta6": "training diverged in epoch 2"})
    num = results.trials["assistants"].map(lambda names: "ta6" in names).sum()
    found = compute_findings(results).failures
    assert found.networks == (FailedNetwork("ta6", 0, "training diverged in epoch 2", num),)
    assert (found.num_students, found.num_trials) == (0, num)
    assert said(results) == (
        f"1 network failed; {num} trials have no student: network ta6 failed: training diverged in epoch 2; "
        f"{num} trials have no student for that reason"
    )


def test_a_failed_teacher_is_the_cause_for_the_assistants_that_it_did_not_teach() -> None:
    errors = {"teacher": "out of memory"} | dict.fromkeys(POOL, "its teacher teacher failed")
    results = with_failed_networks(errors)
    num = (results.trials["strategy"] != "none").sum()
    assert compute_findings(results).failures.networks == (FailedNetwork("teacher", 0, "out of memory", num),)
    assert "its teacher" not in said(results)


def test_two_failed_networks_are_both_named_and_their_trials_are_counted_once_in_all() -> None:
    results = with_failed_networks({"ta8": "diverged", "ta6": "out of memory"})
    found = compute_findings(results).failures
    assert {network.name: network.error for network in found.networks} == {"ta8": "diverged", "ta6": "out of memory"}
    assert sum(network.num_trials for network in found.networks) > found.num_trials
    assert found.num_trials == results.trials["error"].notna().sum()


def test_the_replicate_of_a_failed_network_is_named_where_there_are_several() -> None:
    results = with_failed_networks({"ta6": "diverged"}, replicates=2, in_replicate=1)
    assert "network ta6 of replicate 1 failed: diverged" in said(results)


def test_a_failed_network_that_no_trial_needs_is_named_all_the_same() -> None:
    results = simulated(subsets=[("ta8", "ta6")], controls=("none",))
    lost = results.networks["name"] == "ta4"
    networks = results.networks.assign(error=lost.map({True: "diverged", False: None}))
    assert "network ta4 failed: diverged; no trial needs it" in said(
        Results(**{**results.__dict__, "networks": networks})
    )


def test_a_strategy_that_found_no_weights_is_neither_a_network_nor_a_student() -> None:
    results = simulated(num_seeds=2)
    lost = results.trials["strategy"] == "greedy"
    error = "strategy greedy failed: ValueError: no"
    trials = results.trials.assign(error=lost.map({True: error, False: None}))
    trials.loc[lost, "student_key"] = None
    found = compute_findings(replaced(results, trials)).failures
    assert found.searches == (FailedSearches(error, lost.sum()),)
    assert (found.num_students, found.networks) == (0, ())


def test_all_renderings_count_alike_and_json_counts_trials_under_its_old_key() -> None:
    report = build_report(with_shared_failed_student())
    for text in (" ".join(report.text.split()), report.markdown, report.html, report.description):
        assert "1 student failed; 3 trials have no student" in text
    assert "| 1 student | the loss is nan | 3 |" in report.markdown
    told = report.to_dict()
    assert told["errors"] == {"the loss is nan": 3}
    assert told["failures"]["students"] == [{"error": "the loss is nan", "num_students": 1, "num_trials": 3}]
    network = build_report(with_failed_networks({"ta6": "diverged"}))
    assert "| network ta6 | diverged |" in network.markdown
    assert network.to_dict()["failures"]["networks"][0]["name"] == "ta6"


def test_a_study_without_failures_says_nothing() -> None:
    results = simulated(num_seeds=2)
    assert not compute_findings(results).failures
    assert "What failed" not in {statement.question for statement in verdict(compute_findings(results))}


def test_row_order_does_not_matter() -> None:
    results = with_failed_networks({"ta6": "diverged"})
    shuffled = replaced(results, results.trials.sample(frac=1, random_state=5))
    networks: pd.DataFrame = results.networks.sample(frac=1, random_state=5)
    assert (
        compute_findings(Results(**{**shuffled.__dict__, "networks": networks})).failures
        == compute_findings(results).failures
    )
