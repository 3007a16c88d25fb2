"""The table of the text report: nothing touches and no number is cut, whatever the names and the differences."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.simulated_results import simulated
from wetakd.common.number_format import format_percent
from wetakd.report.estimate_format import difference, mean_and_width
from wetakd.report.plain_text import MOST_ROWS, TERMINAL_WIDTH, WIDEST, terminal_text
from wetakd.results.arm_rows import ArmRow
from wetakd.results.display_names import display_name
from wetakd.results.findings import Findings, compute_findings
from wetakd.results.statistics import Estimate

FOUND = compute_findings(simulated(num_seeds=2, subsets=[("ta8", "ta6", "ta4"), ("ta8", "ta6")]))
LONG = "a-strategy-with-a-very-long-name"


def estimates(low: float) -> st.SearchStrategy[Estimate]:
    """A mean from `low` to 1 of two or more seeds. Two seeds 1 and -1 have an interval of ±12.7."""
    shares = st.floats(low, 1.0)
    spreads = st.one_of(st.none(), st.floats(0.0, 1.4143))
    return st.builds(Estimate, mean=shares, sd=spreads, num=st.integers(2, 5), unit=st.just("seed"))


def accuracies() -> st.SearchStrategy[Estimate]:
    return st.builds(
        Estimate, mean=st.floats(0.0, 1.0), sd=st.floats(0.0, 0.7072), num=st.integers(2, 5), unit=st.just("seed")
    )


def cells(row: ArmRow) -> list[str]:
    """The numbers of a row as the report writes them."""
    assert row.arm.same_as is None
    return [
        mean_and_width(row.accuracy, 1),
        difference(row.versus_uniform, 1),
        difference(row.versus_none, 1),
        format_percent(row.ensemble_accuracy, 1),
    ]


def with_rows(rows: list[ArmRow]) -> Findings:
    return replace(FOUND, rows=tuple(rows))


def table_of(findings: Findings, width: int) -> list[str]:
    return terminal_text(findings, (), width).splitlines()


def numbers_pattern(row: ArmRow) -> str:
    return r"\s+".join(re.escape(cell) for cell in cells(row)) + "$"


@pytest.mark.parametrize("width", [TERMINAL_WIDTH, WIDEST])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_columns_never_touch(width: int, data: st.DataObject) -> None:
    name = st.sampled_from(["de", "uniform", LONG, "x" * 70, "x" * 200])
    some = data.draw(st.lists(st.sampled_from(FOUND.rows), min_size=1, max_size=4, unique_by=id))
    rows = [
        replace(
            row,
            arm=replace(
                row.arm,
                strategy=row.arm.strategy if row.group == "control" else data.draw(name),
                assistants=tuple(data.draw(st.sampled_from(["", "-long" * 6])) + part for part in row.arm.assistants),
                num_failed=data.draw(st.integers(0, 2)),
            ),
            accuracy=data.draw(accuracies()),
            versus_uniform=data.draw(st.none() | estimates(-1.0)),
            versus_none=data.draw(st.none() | estimates(-1.0)),
            ensemble_accuracy=data.draw(st.none() | st.floats(0.0, 1.0)),
        )
        for row in some
    ]
    lines = table_of(with_rows(rows), width)
    assert max(map(len, lines)) <= width
    for row in rows:
        pattern = rf"(^|.*\s){numbers_pattern(row)}"
        assert any(re.fullmatch(pattern, line) for line in lines), (pattern, lines)


@pytest.mark.parametrize("width", [TERMINAL_WIDTH, WIDEST])
def test_large_differences_keep_their_distance(width: int) -> None:
    """The case from a study: a difference of twenty characters touched the column before it."""
    row = next(row for row in FOUND.rows if row.arm.strategy == "de" and len(row.arm.assistants) == 3)
    near, far = Estimate(0.001, 0.00926, 3, "seed"), Estimate(-0.307, 0.0525, 3, "seed")
    text = "\n".join(table_of(with_rows([replace(row, versus_uniform=near, versus_none=far)]), width))
    assert f"{difference(near, 1)}  {difference(far, 1)}" in text
    assert "DE" in text


@pytest.mark.parametrize("width", [TERMINAL_WIDTH, WIDEST])
def test_a_long_label_is_whole(width: int) -> None:
    row = next(row for row in FOUND.rows if row.arm.strategy == "de" and len(row.arm.assistants) == 2)
    named = replace(row.arm, strategy=LONG, assistants=("teacher-large", "assistant-of-medium-size"))
    text = " ".join(" ".join(table_of(with_rows([replace(row, arm=named)]), width)).split())
    assert f"{display_name(LONG)} teacher-large+assistant-of-medium-size" in text
    assert "…" not in text


def test_an_ordinary_row_takes_one_line_with_its_label() -> None:
    lines = table_of(FOUND, TERMINAL_WIDTH)
    for row in FOUND.rows[:MOST_ROWS]:
        if row.arm.strategy in ("none", "teacher"):
            (line,) = [line for line in lines if line[2:].startswith(display_name(row.arm.strategy))]
            assert mean_and_width(row.accuracy, 1) in line


def test_a_wider_terminal_gives_labels_more_room() -> None:
    assert {len(line) for line in table_of(FOUND, WIDEST) if set(line) == {"-"}} == {WIDEST}
    assert {len(line) for line in table_of(FOUND, TERMINAL_WIDTH) if set(line) == {"-"}} == {TERMINAL_WIDTH}
