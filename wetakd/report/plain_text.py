"""The report in a terminal: 80 to 120 columns, no colour needed, a main table and then the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from wetakd.common.number_format import count_noun, format_percent
from wetakd.report.estimate_format import difference, mean_and_width
from wetakd.report.tables import best_first
from wetakd.report.verdict_sentences import Statement
from wetakd.results.arm_rows import ArmRow
from wetakd.results.display_names import display_name
from wetakd.results.findings import Findings

TERMINAL_WIDTH = 80
WIDEST = 120
"""A wider terminal gets no wider text, which would be hard to read."""
# Rows of a group beyond this are only counted; the files have all.
MOST_ROWS = 12
# Of the columns of numbers: the least width, and the blanks before a cell that needs more. No number is ever cut.
_LEAST_WIDTHS, _GAPS = (11, 20, 20, 5), (2, 2, 2, 1)
_HEADS = (("student", "against", "against", "ens."), ("test, %", "uniform, points", "no KD, points", "%"))


def terminal_text(findings: Findings, verdict: Sequence[Statement], width: int = TERMINAL_WIDTH) -> str:
    """Title, main table and verdict, no line longer than `width` columns (80 to 120)."""
    lines = [*_title(findings, width), "", *_table(findings, width), "", *_legend(findings, width), ""]
    for statement in verdict:
        lines += [statement.question, *_wrapped_label(statement.answer, width, indent=2)]
        lines += [line for item in statement.items for line in _wrapped_label(f"- {item}", width, indent=2, hanging=4)]
    return "\n".join(line.rstrip() for line in lines)


def _title(findings: Findings, width: int) -> list[str]:
    replicates = f", {findings.num_replicates} replicates" if findings.num_replicates > 1 else ""
    shape = f"{count_noun(len(findings.results.trials), 'trial')}, {count_noun(findings.num_seeds, 'seed')}{replicates}"
    return _wrapped_label(f"Study {findings.results.study}: {shape}, {findings.results.num_classes} classes", width)


@dataclass(frozen=True)
class _Line:
    """One row of the table as text."""

    label: str
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    """Rows below one title."""

    title: str
    lines: tuple[_Line, ...]
    num_left: int
    """Rows that are only counted."""


def _table(findings: Findings, width: int) -> list[str]:
    pool = frozenset(findings.results.pool)
    strategies = [row for row in findings.rows if row.group == "strategy"]
    full = [row for row in strategies if frozenset(row.arm.assistants) == pool]
    others = [row for row in strategies if frozenset(row.arm.assistants) != pool]
    controls = [row for row in findings.rows if row.group == "control"]
    same_room = _LEAST_WIDTHS[1] - _GAPS[1] + (width - TERMINAL_WIDTH) // 2
    groups = [
        _group(f"strategies over {'+'.join(findings.results.pool)}", full, same_room, short_labels=True),
        _group("controls", controls, same_room),
        _group("strategies over other subsets", others, same_room),
    ]
    widths = _widths([line for group in groups for line in group.lines])
    text = [line for head in _HEADS for line in _set_line(_Line("", head), widths, width)] + ["-" * width]
    for group in groups:
        if group.lines:
            text += _wrapped_label(group.title, width)
            text += [part for line in group.lines for part in _set_line(line, widths, width)]
        if group.num_left:
            text.append(f"  ... {group.num_left} more stand in report.md")
    return text


def _group(title: str, rows: Sequence[ArmRow], same_room: int, *, short_labels: bool = False) -> _Group:
    ordered = best_first(rows)
    shown = [row for rank, row in enumerate(ordered) if rank < MOST_ROWS or row.is_winner]
    lines = tuple(_columns(row, same_room, short_labels=short_labels) for row in shown)
    return _Group(title, lines, len(ordered) - len(shown))


def _columns(row: ArmRow, same_room: int, *, short_labels: bool) -> _Line:
    """`same_room`: characters for the name of another recipe that has the same students."""
    arm = row.arm
    label = display_name(arm.strategy) if short_labels else arm.label
    failed = f" ({arm.num_failed} failed)" if arm.num_failed and arm.students else ""
    mark = "* " if row.is_winner else "  "
    same_as = (arm.same_as or "").removesuffix(f" {'+'.join(arm.assistants)}" if short_labels else "")
    numbers = (
        "all failed" if arm.num_failed and not arm.students else mean_and_width(row.accuracy, 1),
        _cut(f"= {same_as}", same_room) if same_as else difference(row.versus_uniform, 1),
        difference(row.versus_none, 1),
        format_percent(row.ensemble_accuracy, 1),
    )
    return _Line(mark + label + failed, numbers)


def _widths(lines: Sequence[_Line]) -> tuple[int, ...]:
    """Of every column of numbers, blanks before it included: as wide as its longest cell needs."""
    columns = zip(*(line.numbers for line in lines), strict=True) if lines else ((),) * len(_GAPS)
    return tuple(
        max([least, *(len(cell) + gap for cell in column)])
        for least, gap, column in zip(_LEAST_WIDTHS, _GAPS, columns, strict=True)
    )


def _set_line(line: _Line, widths: Sequence[int], width: int) -> list[str]:
    """A row on one line; where its label does not fit before the numbers, the label has lines of its own above."""
    numbers = "".join(f"{text:>{column}}" for text, column in zip(line.numbers, widths, strict=True))
    room = width - len(numbers)
    if len(line.label) <= room:
        return [f"{line.label:<{room}}{numbers}"]
    mark, label = line.label[:2], line.label[2:]
    first, *more = _wrapped_label(label, width, indent=2, hanging=4)
    return [mark + first[2:], *more, f"{numbers:>{width}}"]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _legend(findings: Findings, width: int) -> list[str]:
    swept = " Each recipe stands at its best swept point on `choose`." if findings.arms.has_points else ""
    same = " = the very same students as that recipe's." if any(
        row.arm.same_as for row in findings.rows
    ) else ""  # fmt: skip
    unit = "replicates" if findings.num_replicates > 1 else "seeds"
    spreads = [row.accuracy for row in findings.rows if row.accuracy and row.accuracy.num > 1]
    equal = f" No interval: the very same at all {unit}." if any(found.low is None for found in spreads) else ""
    return _wrapped_label(
        f"Means over {unit}, 95 % intervals, differences paired by seed, in percentage points (not corrected here). "
        f"ens.: test accuracy of the ensemble. * winner, chosen on `choose`.{swept}{same}{equal}",
        width,
    )


def _wrapped_label(text: str, width: int, indent: int = 0, hanging: int | None = None) -> list[str]:
    later = indent if hanging is None else hanging
    return textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * later)
