"""Grouping of trials into arms."""

from __future__ import annotations

import numpy as np

from tests.unit.simulated_results import POOL, point, replaced, share_students, simulated
from wetakd.results.arms import collect_arms


def test_one_arm_a_recipe_simplest_first() -> None:
    arms = collect_arms(simulated().trials)
    assert len(arms.best) == 6 + 4 * 6
    assert arms.best[0].strategy == "none"
    assert [len(arm.assistants) for arm in arms.best] == sorted(len(arm.assistants) for arm in arms.best)
    assert all(len(arm.students) == 3 for arm in arms.best)
    assert not arms.has_points


def test_row_order_does_not_matter() -> None:
    trials = simulated().trials
    shuffled, ordered = (
        [(arm.label, arm.student_keys, arm.values("student_test_accuracy")) for arm in collect_arms(rows).best]
        for rows in (trials.sample(frac=1, random_state=2), trials)
    )
    assert shuffled == ordered


def test_a_single_assistant_stands_for_every_strategy() -> None:
    arms = collect_arms(simulated().trials)
    single = arms.find("de", ["ta6"])
    assert single is not None
    assert single.label == "single ta6"
    assert arms.find("de", ["ta4", "ta8", "ta6"]) is arms.find("de", POOL)
    assert arms.find("uniform", ["nobody", "else"]) is None
    teacher = arms.find("de", ["teacher"])
    assert teacher is not None
    assert teacher.strategy == "teacher"


def test_the_same_students_are_marked_once() -> None:
    trials = share_students(simulated().trials, "convex", like="de")
    arms = collect_arms(trials)
    marked = {arm.label: arm.same_as for arm in arms.best if arm.same_as}
    assert marked == {"convex ta8+ta6+ta4": "DE ta8+ta6+ta4"}


def test_sharing_one_seed_of_three_is_not_being_the_same() -> None:
    trials = simulated().trials.copy()
    keys = trials.set_index(["strategy", "num_assistants", "seed"])["student_key"]
    is_convex = (trials["strategy"] == "convex") & (trials["num_assistants"] == 3) & (trials["seed"] == 0)
    trials.loc[is_convex, "student_key"] = keys["de", 3, 0]
    assert not any(arm.same_as for arm in collect_arms(trials).best)


def test_a_recipe_stands_at_the_point_that_was_best_on_choose() -> None:
    points = [point(temperature=2.0), point(temperature=4.0)]
    results = simulated(points=points, point_effects={points[1]: 0.05})
    arms = collect_arms(results.trials)
    assert arms.has_points
    assert {arm.point for arm in arms.best} == {points[1]}
    assert len(arms.every_point) == 2 * len(arms.best)
    # A test column must not move it.
    lucky = results.trials.copy()
    lucky.loc[lucky["point"] == points[0].to_json(), "student_test_accuracy"] += 0.5
    assert {arm.point for arm in collect_arms(lucky).best} == {points[1]}


def test_stopped_and_failed_students_are_counted_apart() -> None:
    results = simulated()
    trials = results.trials.copy()
    de = (trials["strategy"] == "de") & (trials["num_assistants"] == 3)
    trials["stopped_at_epoch"] = np.where(de & (trials["seed"] == 0), 2.0, np.nan)
    trials["error"] = np.where(de & (trials["seed"] == 1), "boom", None)
    arm = collect_arms(replaced(results, trials).trials).find("de", POOL)
    assert arm is not None
    assert (arm.num_stopped, arm.num_failed, len(arm.students)) == (1, 1, 1)


def test_differences_are_paired() -> None:
    """The luck of a seed is ten times the effect: only pairing finds it."""
    arms = collect_arms(simulated(effects={"de": 0.002}, noise=0.0001, num_seeds=4).trials)
    de, uniform = arms.find("de", POOL), arms.find("uniform", POOL)
    assert de is not None
    assert uniform is not None
    found, alone = de.minus(uniform), de.estimate("student_test_accuracy")
    assert found is not None
    assert found.low is not None
    assert found.low > 0
    assert alone is not None
    assert alone.half_width is not None
    assert alone.half_width > 0.01


def test_replicates_are_the_unit_where_there_are_several() -> None:
    arm = collect_arms(simulated(replicates=3, num_seeds=4).trials).find("de", POOL)
    assert arm is not None
    found = arm.estimate("student_test_accuracy")
    assert found is not None
    assert (found.num, found.unit) == (3, "replicate")
