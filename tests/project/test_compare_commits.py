"""The comparison of two commits' tables: every difference is found, and nothing else is."""

import math
from typing import Any

import pytest

from benchmarks.compare_commits import NOT_COMPARED, NotComparableError, changed_fields, compare


def table() -> list[dict[str, Any]]:
    return [
        {
            "strategy": strategy,
            "assistants": ["first", "second"],
            "replicate": 0,
            "seed": seed,
            "weights": [0.25, 0.75],
            "student_test_accuracy": 0.1 + 0.2,
            "gap": None,
            "crossfit_gain": math.nan,
            "student_key": "a",
            "train_seconds": 1.0,
            "search_seconds": 1.0,
            "mlflow_run_id": "b",
        }
        for strategy in ("uniform", "de")
        for seed in (0, 1)
    ]


def test_equal_tables_are_equal_in_any_order() -> None:
    found = compare(table(), table()[::-1])
    assert found.is_equal
    assert found.num_rows == 4
    assert set(found.equal) == set(table()[0]) - NOT_COMPARED


@pytest.mark.parametrize("column", sorted(NOT_COMPARED))
def test_times_and_identifiers_may_differ(column: str) -> None:
    new = table()
    new[2][column] = "other"
    assert compare(table(), new).is_equal


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("student_test_accuracy", 0.3),  # not 0.1 + 0.2: one unit in the last place
        ("student_test_accuracy", None),
        ("weights", [0.25, 0.7500000000000001]),
        ("weights", [1.0]),
        ("gap", 0.0),
        ("crossfit_gain", 0.0),
    ],
)
def test_a_difference_in_the_last_digit_is_found(column: str, value: Any) -> None:
    new = table()
    new[3][column] = value
    found = compare(table(), new)
    assert not found.is_equal
    assert list(found.different) == [column]
    assert "1 of 4 rows" in found.different[column]
    assert f"DIFFERENT  {column}" in found.text


def test_missing_value_equals_nan() -> None:
    new = table()
    new[0]["crossfit_gain"], new[0]["gap"] = None, math.nan
    assert compare(table(), new).is_equal


def test_added_column_is_reported_and_is_not_a_difference() -> None:
    new = [row | {"latency": 1.0} for row in table()]
    found = compare(table(), new)
    assert found.is_equal
    assert found.only_new == ("latency",)
    assert not compare(new, table()).is_equal


def test_added_and_removed_rows_are_differences() -> None:
    assert compare(table(), table()[1:]).rows_only_old == (
        "strategy=uniform assistants=first+second replicate=0 seed=0",
    )
    assert not compare(table(), table()[1:]).is_equal
    assert not compare(table()[1:], table()).is_equal


def test_tables_without_rows_or_with_ambiguous_rows_are_not_compared() -> None:
    with pytest.raises(NotComparableError, match="no rows"):
        compare([], table())
    with pytest.raises(NotComparableError, match="several rows"):
        compare(table(), table() + table()[:1])


def test_changed_fields_of_study_files() -> None:
    old = {"study": {"seeds": 3, "name": "a"}, "views": {"num": 4}}
    assert changed_fields(old, old) == []
    assert changed_fields(old, {"study": {"seeds": 2, "name": "a"}, "data": {}}) == ["study.seeds", "views", "data"]
