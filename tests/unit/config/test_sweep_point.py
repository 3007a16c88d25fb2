"""A swept point is a value with one JSON text, which result columns and stored results contain."""

from __future__ import annotations

import pytest

from wetakd.config import EMPTY_POINT, SweepPoint
from wetakd.plan.trials import Arm, Trial

POINT = SweepPoint.of({"student.recipe.epochs": 3, "student.distillation.temperature": 4.0})
TEXT = '{"student.distillation.temperature": 4.0, "student.recipe.epochs": 3}'


def test_the_json_text_is_sorted_and_gives_the_point_back() -> None:
    assert POINT.to_json() == TEXT
    assert SweepPoint.from_json(TEXT) == POINT
    assert SweepPoint.from_json(TEXT).values == {"student.distillation.temperature": 4.0, "student.recipe.epochs": 3}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "0.1"])
def test_text_that_is_not_a_json_object_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SweepPoint.from_json(text)


def test_points_are_equal_where_their_values_are_equal_and_of_one_type() -> None:
    lists = {"student.recipe.milestones": [0.5, 0.75]}
    assert len({SweepPoint.of(lists), SweepPoint.of(lists), EMPTY_POINT}) == 2
    assert SweepPoint.of({"student.recipe.lr": 1}) != SweepPoint.of({"student.recipe.lr": 1.0})


def test_the_label_has_the_last_part_of_each_field() -> None:
    assert POINT.label == "temperature 4, epochs 3"
    assert SweepPoint.of({"student.recipe.lr": 0.123456}).label == "lr 0.1235"


def test_the_point_of_a_study_that_sweeps_nothing_is_empty() -> None:
    assert EMPTY_POINT.is_empty
    assert not POINT.is_empty
    assert (EMPTY_POINT.to_json(), EMPTY_POINT.label, EMPTY_POINT.values) == ("{}", "", {})


def test_the_uid_of_a_trial_contains_the_text() -> None:
    assert Trial(Arm("de", ("ta8", "ta6"), POINT), 1, 2).uid == f"trial:de ta8+ta6 {TEXT}:1:2"
    assert Trial(Arm("de", ("ta8", "ta6")), 1, 2).uid == "trial:de ta8+ta6:1:2"
