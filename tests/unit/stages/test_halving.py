"""Successive halving: who goes on, from where, and that nothing depends on the order in which trials end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plan.made_plans import make_plan
from wetakd.config import HalvingConfig, SweepPoint
from wetakd.plan.outcomes import TrainedStudent
from wetakd.plan.result_keys import ResultKeys
from wetakd.plan.study_plan import control_weights
from wetakd.plan.trials import Arm
from wetakd.stages.halving import rungs, survivors, train_in_rungs
from wetakd.training.epoch import Epoch

CONFIG = HalvingConfig(min_epochs=2, factor=3)


@pytest.mark.parametrize(
    ("first", "factor", "epochs", "expected"),
    [(1, 2, 8, [1, 2, 4]), (2, 3, 20, [2, 6, 18]), (5, 2, 5, []), (9, 2, 5, [])],
)
def test_rungs_grow_by_the_factor_and_end_before_the_last_epoch(first, factor, epochs, expected):
    assert rungs(HalvingConfig(min_epochs=first, factor=factor), epochs) == expected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(2, 5))
def test_of_each_recipe_the_best_go_on_and_never_none(accuracies, factor):
    points = [Arm("de", ("a", "b"), SweepPoint.of({"student.recipe.lr": i})) for i in range(len(accuracies))]
    alone = Arm("none", ())
    accuracy = dict(zip(points, accuracies, strict=True))
    left = survivors(accuracy | {alone: -1.0}, factor)
    assert alone in left
    left.remove(alone)
    assert len(left) == -(-len(points) // factor)
    assert min(accuracy[arm] for arm in left) >= max([accuracy[arm] for arm in points if arm not in left], default=0)


def test_recipes_do_not_compete_with_each_other():
    poor, good = Arm("random", ("a",)), Arm("de", ("a",))
    assert survivors({poor: 0.1, good: 0.9}, 3) == {poor, good}


def sweep():
    """Students of two recipes at three learning rates and two seeds; the higher rate is better by construction."""
    made = make_plan(
        "study.seeds=2",
        "study.controls=[none, teacher]",
        "study.strategies=[uniform]",
        "study.primary=null",
        "study.subsets=[[ta8, ta6, ta4]]",
        "study.sweep={student.recipe.lr: {grid: [0.01, 0.02, 0.03]}}",
        "student.recipe.epochs=8",
    )
    digests = {(node.replicate, node.name): f"digest of {node.key}" for node in made.nodes}
    keys = ResultKeys(made, digests)
    return {trial: keys.student(trial, control_weights(trial)) for trial in made.trials}


def test_only_survivors_go_on_and_the_others_keep_where_they_stopped():
    students = sweep()
    calls = []

    def train(some, until):
        calls.append((sorted(some), dict(until)))
        return {
            key: TrainedStudent(
                student,
                True,
                stopped_epochs=(Epoch(until.get(key, 8), 0.0, 0.0, student.config.recipe.lr, 0.0, 0.0),),
            )
            for key, student in some.items()
        }

    pruned = []
    outcomes = train_in_rungs(students, CONFIG, train, pruned.append)
    best = {student.key for student in students.values() if student.config.recipe.lr == 0.03}
    everyone = {student.key for student in students.values()}
    assert calls[0] == (sorted(everyone), dict.fromkeys(everyone, 2))
    assert calls[1] == (sorted(best), dict.fromkeys(best, 6))
    assert calls[2] == (sorted(best), {})
    assert len(calls) == 3
    assert set(outcomes) == everyone
    assert {key for key, outcome in outcomes.items() if outcome.stopped_at.epoch == 8} == best
    assert {outcome.stopped_at.epoch for key, outcome in outcomes.items() if key not in best} == {2}
    assert set(pruned) == everyone - best


def test_a_point_whose_students_failed_is_the_first_to_go():
    students, trained = sweep(), []

    def train(some, until):
        trained.append({student.config.recipe.lr for student in some.values()})
        return {
            key: TrainedStudent(student, error="diverged")
            if student.config.recipe.lr == 0.03
            else TrainedStudent(student, stopped_epochs=(Epoch(2, 0.0, 0.0, 0.1, 0.0, 0.0),))
            for key, student in some.items()
        }

    outcomes = train_in_rungs(students, CONFIG, train, lambda _: None)
    # Of equals, the first given goes on.
    assert trained == [{0.01, 0.02, 0.03}, {0.01}, {0.01}]
    assert {o.error for o in outcomes.values() if o.student.config.recipe.lr == 0.03} == {"diverged"}


def test_without_a_single_student_nothing_is_trained():
    assert train_in_rungs({}, CONFIG, lambda students, until: pytest.fail("nobody is there"), pytest.fail) == {}
