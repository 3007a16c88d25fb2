"""The report in a terminal: 80 columns, no colour needed, a main table and then the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from wetakd.report.arms import shown_name
from wetakd.report.findings import Findings, Row
from wetakd.report.sheets import best_first
from wetakd.report.verdict import Statement
from wetakd.report.wording import difference, many, mean_and_width, percent

WIDTH = 80
# Rows of a group beyond this are only counted; the files have all.
MOST_ROWS = 12
_LABEL, _ACCURACY, _DIFFERENCE, _ENSEMBLE = 24, 11, 20, 5


def terminal_text(findings: Findings, verdict: Sequence[Statement]) -> str:
    """Title, main table and verdict, no line longer than 80 columns."""
    lines = [*_title(findings), "", *_table(findings), "", *_legend(findings), ""]
    for statement in verdict:
        lines += [statement.question, *_wrapped(statement.answer, indent=2)]
        lines += [line for item in statement.items for line in _wrapped(f"- {item}", indent=2, hanging=4)]
    return "\n".join(line.rstrip() for line in lines)


def _title(findings: Findings) -> list[str]:
    replicates = f", {findings.num_replicates} replicates" if findings.num_replicates > 1 else ""
    shape = f"{many(len(findings.results.trials), 'trial')}, {many(findings.num_seeds, 'seed')}{replicates}"
    return _wrapped(f"Study {findings.results.study}: {shape}, {findings.results.num_classes} classes")


def _table(findings: Findings) -> list[str]:
    head = _line("", "student", "against", "against", "ens.")
    heading = _line("", "test, %", "uniform, points", "no KD, points", "%")
    pool = frozenset(findings.results.pool)
    strategies = [row for row in findings.rows if row.group == "strategy"]
    full = [row for row in strategies if frozenset(row.arm.assistants) == pool]
    others = [row for row in strategies if frozenset(row.arm.assistants) != pool]
    controls = [row for row in findings.rows if row.group == "control"]
    lines = [head, heading, "-" * WIDTH]
    lines += _group(f"strategies over {'+'.join(findings.results.pool)}", full, short_labels=True)
    lines += _group("controls", controls)
    return lines + _group("strategies over other subsets", others)


def _group(title: str, rows: Sequence[Row], *, short_labels: bool = False) -> list[str]:
    if not rows:
        return []
    ordered = best_first(rows)
    shown = [row for rank, row in enumerate(ordered) if rank < MOST_ROWS or row.is_winner]
    lines = [_cut(title, WIDTH), *(_row(row, short_labels=short_labels) for row in shown)]
    left = len(ordered) - len(shown)
    return [*lines, f"  ... {left} more stand in report.md"] if left else lines


def _row(row: Row, *, short_labels: bool) -> str:
    arm = row.arm
    label = shown_name(arm.strategy) if short_labels else arm.label
    failed = f" ({arm.num_failed} failed)" if arm.num_failed and arm.students else ""
    mark = "* " if row.is_winner else "  "
    same_as = (arm.same_as or "").removesuffix(f" {'+'.join(arm.assistants)}" if short_labels else "")
    against = _cut(f"= {same_as}", _DIFFERENCE - 1) if same_as else difference(row.versus_uniform, 1)
    return _line(
        mark + _cut(label, _LABEL - len(mark + failed)) + failed,
        "all failed" if arm.num_failed and not arm.students else mean_and_width(row.accuracy, 1),
        against,
        difference(row.versus_none, 1),
        percent(row.ensemble_accuracy, 1),
    )


def _line(label: str, accuracy: str, uniform: str, none: str, ensemble: str) -> str:
    cells = ((accuracy, _ACCURACY), (uniform, _DIFFERENCE), (none, _DIFFERENCE), (ensemble, _ENSEMBLE))
    numbers = "".join(f"{_cut(text, width):>{width}}" for text, width in cells)
    return f"{_cut(label, _LABEL):<{_LABEL}}" + numbers


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _legend(findings: Findings) -> list[str]:
    swept = " Each recipe stands at its best swept point on `choose`." if findings.arms.has_points else ""
    same = " = the very same students as that recipe's." if any(
        row.arm.same_as for row in findings.rows
    ) else ""  # fmt: skip
    unit = "replicates" if findings.num_replicates > 1 else "seeds"
    spreads = [row.accuracy for row in findings.rows if row.accuracy and row.accuracy.num > 1]
    equal = f" No interval: the very same at all {unit}." if any(found.low is None for found in spreads) else ""
    return _wrapped(
        f"Means over {unit}, 95 % intervals, differences paired by seed, in percentage points (not corrected here). "
        f"ens.: test accuracy of the ensemble. * winner, chosen on `choose`.{swept}{same}{equal}"
    )


def _wrapped(text: str, indent: int = 0, hanging: int | None = None) -> list[str]:
    later = indent if hanging is None else hanging
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * later)
