"""Contrasts: which are made, which are shown, and counts within nested subsets."""

from __future__ import annotations

import pytest

from tests.unit.simulated_results import POOL, share_students, simulated
from wetakd.results.arms import collect_arms
from wetakd.results.contrasts import Contrast, accuracy_by_count, best_single, compute_contrasts
from wetakd.results.stored_results import Results

PRIMARY = ("de", "uniform")


def made(results: Results) -> list[Contrast]:
    return compute_contrasts(collect_arms(results.trials), results.primary, results.pool)


def test_the_declared_one_comes_first_and_is_not_corrected() -> None:
    found = made(simulated(num_seeds=6, effects={"de": 0.02}))
    assert found[0].topic == "primary"
    assert found[0].name == "DE against uniform over ta8+ta6+ta4"
    assert found[0].difference is not None
    assert found[0].corrected_p == found[0].difference.p_value
    assert found[0].is_significant


def test_the_others_are_corrected_as_one_family() -> None:
    found = made(simulated(num_seeds=6))[1:]
    assert {contrast.topic for contrast in found} == {"random", "strategy", "control", "count"}
    raw = [contrast.difference.p_value for contrast in found if contrast.difference]
    smallest = min(range(len(raw)), key=lambda index: raw[index] or 1.0)
    assert found[smallest].corrected_p == pytest.approx(min(1.0, (raw[smallest] or 1.0) * len(raw)))


def test_the_declared_pair_is_not_repeated() -> None:
    found = made(simulated(primary=("de", "random")))
    assert [contrast.name for contrast in found].count("DE against random over ta8+ta6+ta4") == 1


def test_noise_is_rarely_shown() -> None:
    """Over 40 studies without any effect, the declared contrast may be shown about twice."""
    shown = 0
    for seed in range(40):
        results = simulated(seed=seed, num_seeds=5, strategies=PRIMARY, controls=(), pool=POOL[:2])
        shown += made(results)[0].is_significant
    assert shown <= 6


def test_the_same_students_are_not_compared() -> None:
    results = simulated()
    trials = share_students(results.trials, "de", like="uniform")
    declared = compute_contrasts(collect_arms(trials), PRIMARY, POOL)[0]
    assert declared.difference is None
    assert declared.why_not == "both are the very same students"
    assert not declared.is_significant


def test_one_assistant_leaves_nothing_to_weigh() -> None:
    declared, *others = made(simulated(pool=("ta6",)))
    assert declared.difference is None
    assert declared.why_not == "one assistant leaves nothing to weigh"
    assert [contrast.name for contrast in others] == [
        "single ta6 against no distillation",
        "single ta6 against the teacher alone",
        "single ta6 against teacher and all assistants, evenly mixed (DGKD-style)",
    ]


def test_a_strategy_that_was_not_run_is_said() -> None:
    declared = made(simulated(strategies=("de", "random")))[0]
    assert declared.why_not == "uniform was not run"


def test_the_best_single_assistant_is_chosen_on_choose() -> None:
    trials = simulated().trials.copy()
    ta6 = trials["assistants"].map(tuple) == ("ta6",)
    trials.loc[ta6, "student_choose_accuracy"] = 0.99
    trials.loc[ta6, "student_test_accuracy"] = 0.01
    assert [arm.assistants for arm in best_single(collect_arms(trials), POOL)] == [("ta6",)]


class TestCounts:
    def test_every_count_once_and_gains_against_one_fewer(self) -> None:
        rows = accuracy_by_count(collect_arms(simulated(count_effect=0.01, noise=0.0005).trials), "de", POOL)
        assert [(row.count, row.num_subsets, row.against) for row in rows] == [(1, 3, None), (2, 3, 1), (3, 1, 2)]
        for row in rows[1:]:
            assert row.gain is not None
            assert row.gain.mean == pytest.approx(0.01, abs=0.002)
            assert row.gain.low is not None
            assert row.gain.low > 0

    def test_only_nested_subsets_are_compared(self) -> None:
        """A good assistant outside the larger subset must not make the smaller one look better."""
        results = simulated(pool=("ta8", "ta6", "ta4"), subsets=[("ta8", "ta6")], noise=0.0, count_effect=0.01)
        trials = results.trials.copy()
        outside = trials["assistants"].map(tuple) == ("ta4",)
        trials.loc[outside, "student_test_accuracy"] = 0.999
        rows = accuracy_by_count(collect_arms(trials), "de", POOL)
        assert [(row.count, row.against) for row in rows] == [(1, None), (2, 1)]
        assert rows[1].gain is not None
        assert rows[1].gain.mean == pytest.approx(0.01)

    def test_a_missing_count_is_stepped_over(self) -> None:
        rows = accuracy_by_count(collect_arms(simulated(subsets=[POOL]).trials), "de", POOL)
        assert [(row.count, row.against) for row in rows] == [(1, None), (3, 1)]

    def test_seeds_that_lack_a_student_are_left_out(self) -> None:
        trials = simulated(num_seeds=4).trials
        gone = (trials["strategy"] == "single") & (trials["seed"] == 2)
        rows = accuracy_by_count(collect_arms(trials[~gone]), "de", POOL)
        assert rows[1].gain is not None
        assert rows[1].gain.num == 3
        assert rows[2].gain is not None
        assert rows[2].gain.num == 4


def test_without_a_declared_contrast_the_others_are_corrected_as_one_family() -> None:
    results = simulated(strategies=("uniform", "greedy", "convex"), primary=None)
    found = made(results)
    assert not [contrast for contrast in found if contrast.topic == "primary"]
    against = [(c.better, c.worse) for c in found if c.topic == "strategy"]
    assert against == [("greedy", "uniform"), ("convex", "uniform")]
    controls = [c.better for c in found if c.topic == "control"]
    assert controls
    assert set(controls) == {"greedy ta8+ta6+ta4"}
    alone = made(simulated(strategies=("greedy", "convex"), primary=None))
    assert not [contrast for contrast in alone if contrast.topic in ("primary", "strategy")]
