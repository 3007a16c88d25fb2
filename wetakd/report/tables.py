"""The report's tables as rows of text, for Markdown and HTML alike: full, with units in the headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wetakd.common.number_format import (
    NO_VALUE,
    count_noun,
    format_magnitude,
    format_number,
    format_percent,
    format_points,
    format_seconds,
)
from wetakd.report.estimate_format import difference, mean_and_width
from wetakd.report.verdict_sentences import gain_text
from wetakd.results import columns
from wetakd.results.arm_rows import ArmRow
from wetakd.results.display_names import display_name
from wetakd.results.findings import Findings


@dataclass(frozen=True)
class Table:
    """One table with a heading and a note that says what its columns mean."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_text_columns: int = 1
    """Columns from the left that hold text; the others are numbers, set to the right."""


def report_tables(findings: Findings) -> list[Table]:
    """Every table that has rows."""
    found = [
        _students_table(findings, "Strategies over the full pool", _over_pool(findings)),
        _students_table(findings, "Controls", [row for row in findings.rows if row.group == "control"]),
        _students_table(findings, "Strategies over other subsets", _over_others(findings)),
        _counts_table(findings),
        _contrasts_table(findings),
        _contributions_table(findings),
        _correlations_table(findings),
        _searches_table(findings),
        _points_table(findings),
        _networks_table(findings),
        _failures_table(findings),
    ]
    return [table for table in found if table.rows]


def best_first(rows: Iterable[ArmRow]) -> list[ArmRow]:
    """Rows by mean test accuracy, those without one last; ties in the order of the arms."""
    return sorted(rows, key=lambda row: (-row.accuracy.mean if row.accuracy else 1.0, row.arm.order))


def _is_over_pool(row: ArmRow, findings: Findings) -> bool:
    return row.group == "strategy" and set(row.arm.assistants) == set(findings.results.pool)


def _over_pool(findings: Findings) -> list[ArmRow]:
    return [row for row in findings.rows if _is_over_pool(row, findings)]


def _over_others(findings: Findings) -> list[ArmRow]:
    return [row for row in findings.rows if row.group == "strategy" and not _is_over_pool(row, findings)]


def _students_table(findings: Findings, title: str, rows: Sequence[ArmRow]) -> Table:
    point = " Each recipe stands at the swept point that was best on `choose`." if findings.arms.has_points else ""
    return Table(
        title,
        "Means over seeds with 95 % t intervals. Accuracies in percent, differences in percentage points, paired by "
        "seed, intervals not corrected for their number. ECE: expected calibration error over 15 equal-width bins."
        f"{point} ★ the winner, chosen on `choose`.",
        (
            "recipe",
            "assistants (parameters)",
            "students",
            "test accuracy, %",
            "macro accuracy, %",
            "ECE, points",
            "against uniform, points",
            "against no distillation, points",
            "ensemble test accuracy, %",
            "ensemble test NLL, nats",
            "note",
        ),
        tuple(_student_row(row) for row in best_first(rows)),
        num_text_columns=2,
    )


def _student_row(row: ArmRow) -> tuple[str, ...]:
    arm = row.arm
    named = [f"{name} ({format_magnitude(size)})" for name, size in zip(arm.assistants, row.sizes, strict=True)]
    return (
        ("★ " if row.is_winner else "") + display_name(arm.strategy),
        " + ".join(named) or NO_VALUE,
        str(len(arm.students)),
        mean_and_width(row.accuracy),
        format_percent(row.macro_accuracy),
        format_percent(row.calibration_error),
        difference(row.versus_uniform),
        difference(row.versus_none),
        format_percent(row.ensemble_accuracy),
        format_number(row.ensemble_nll),
        row_note(row),
    )


def row_note(row: ArmRow) -> str:
    """What else is to be known of an arm: same students, failures, early stops, its point."""
    arm = row.arm
    notes = [
        f"same students as {arm.same_as}" if arm.same_as else "",
        f"{arm.num_failed} failed" if arm.num_failed else "",
        f"{arm.num_stopped} stopped early" if arm.num_stopped else "",
        arm.point.label,
    ]
    return "; ".join(note for note in notes if note)


def _counts_table(findings: Findings) -> Table:
    return Table(
        "By number of assistants",
        "Mean over all subsets of a size; the gain is taken within nested subsets (each smaller one against the larger "
        "ones that hold it), paired by seed, in percentage points with a 95 % interval.",
        ("strategy", "assistants", "subsets", "test accuracy, %", "against", "gain, points"),
        tuple(
            (
                display_name(row.strategy),
                str(row.count),
                str(row.num_subsets),
                mean_and_width(row.accuracy),
                NO_VALUE if row.against is None else str(row.against),
                difference(row.gain),
            )
            for row in findings.counts
        ),
    )


def _contrasts_table(findings: Findings) -> Table:
    if findings.primary is None:
        how = "The p values are corrected together (Holm)."
    else:
        how = "The first was declared before the study; the p values of the others are corrected together (Holm)."
    return Table(
        "Contrasts",
        f"{how} The last column says how many seeds (or replicates) would tell a difference of the observed size, "
        "power 0.8.",
        ("contrast", "difference, points", "n", "p", "shown", "needed"),
        tuple(
            (
                contrast.name,
                difference(contrast.difference) if contrast.difference else contrast.why_not or NO_VALUE,
                str(contrast.difference.num) if contrast.difference else NO_VALUE,
                format_number(contrast.corrected_p),
                "yes" if contrast.is_significant else "no",
                _seeds_needed(contrast.difference.num_needed) if contrast.difference else NO_VALUE,
            )
            for contrast in findings.contrasts
        ),
    )


def _seeds_needed(num: int | None) -> str:
    return NO_VALUE if num is None else f"{num:,}"


def _contributions_table(findings: Findings) -> Table:
    return Table(
        "What each assistant adds",
        "Shapley and leave-one-out: accuracy of the evenly mixed ensemble on `weigh`, in points. Weight: mean under "
        f"{display_name(findings.main_strategy or 'none')} over the full pool. Last: student test accuracy with it "
        "less without it, paired by seed.",
        ("assistant", "parameters", "Shapley, points", "leave-one-out, points", "weight", "student needs it, points"),
        tuple(
            (
                c.name,
                format_magnitude(c.size),
                format_points(c.shapley.mean) if c.shapley else NO_VALUE,
                format_points(c.leave_one_out.mean) if c.leave_one_out else NO_VALUE,
                format_number(c.weight, 2),
                difference(c.student_loss),
            )
            for c in findings.contributions
        ),
    )


def _correlations_table(findings: Findings) -> Table:
    return Table(
        "Does a better ensemble teach better",
        "Spearman's rank correlation of the ensemble's quality on `choose` with its students' test accuracy, each "
        "recipe one point, recipes with the same students once; positive: the better ensemble teaches better.",
        ("within", "ensemble's", "recipes", "rho", "95 % interval", "permutation p"),
        tuple(
            (
                "+".join(relation.where) or "all recipes",
                relation.measure,
                str(relation.correlation.num),
                f"{relation.correlation.rho:+.2f}",
                NO_VALUE
                if relation.correlation.low is None or relation.correlation.high is None
                else f"[{relation.correlation.low:+.2f}, {relation.correlation.high:+.2f}]",
                format_number(relation.correlation.p_value),
            )
            for relation in findings.correlations
        ),
        num_text_columns=2,
    )


def _searches_table(findings: Findings) -> Table:
    searched = [row for row in findings.rows if row.group == "strategy" and row.evaluations is not None]
    return Table(
        "The searches",
        "Means over seeds. Gain: cross-fitted on `weigh` (found on one half, judged on the other), ensemble accuracy "
        "over even weights, ± one standard error.",
        ("recipe", "evaluations", "seconds", "honest gain, points", "in words"),
        tuple(
            (
                row.arm.label,
                f"{row.evaluations:,.0f}",
                format_seconds(row.search_seconds),
                *_gain_cells(row),
            )
            for row in searched
        ),
    )


def _gain_cells(row: ArmRow) -> tuple[str, str]:
    if row.crossfit_gain is None or row.crossfit_error is None:
        return NO_VALUE, "not cross-fitted"
    return f"{format_points(row.crossfit_gain)} ± {format_percent(row.crossfit_error)}", gain_text(
        row.crossfit_gain, row.crossfit_error
    )


def _points_table(findings: Findings) -> Table:
    """Every swept point of the winner's recipe."""
    winner = findings.results.winner
    family = [
        arm
        for arm in findings.arms.every_point
        if winner and (arm.strategy, arm.assistants) == (winner.strategy, winner.assistants)
    ]
    return Table(
        "Swept points of the winner's recipe",
        "The point was chosen on `choose`; test accuracy is shown for all that were trained to the end.",
        ("point", "students", "choose accuracy, %", "test accuracy, %"),
        tuple(
            (
                arm.point.label,
                str(len(arm.students)) if not arm.num_stopped else f"{arm.num_stopped} stopped early",
                mean_and_width(arm.estimate(columns.STUDENT_CHOOSE_ACCURACY)),
                mean_and_width(arm.estimate(columns.STUDENT_TEST_ACCURACY)),
            )
            for arm in (family if findings.arms.has_points else [])
        ),
    )


def _networks_table(findings: Findings) -> Table:
    rows = findings.results.networks.sort_values(
        [columns.REPLICATE, columns.PARAMETERS, columns.NAME], ascending=[True, False, True]
    )
    return Table(
        "Teacher and assistants",
        "One row a network of a replicate; accuracy on `test` in percent.",
        ("network", "taught by", "replicate", "parameters", "MACs", "test accuracy, %", "seconds"),
        tuple(
            (
                _network_label(row),
                " + ".join(row[columns.TAUGHT_BY]) or NO_VALUE,
                str(row[columns.REPLICATE]),
                format_magnitude(_cell_or_none(row[columns.PARAMETERS])),
                format_magnitude(_cell_or_none(row[columns.MACS])),
                format_percent(_cell_or_none(row[columns.TEST_ACCURACY])),
                format_seconds(_cell_or_none(row[columns.TRAIN_SECONDS])),
            )
            for row in rows.to_dict("records")
        ),
        num_text_columns=2,
    )


def _network_label(row: Mapping[Any, Any]) -> str:
    name, imported = str(row[columns.NAME]), row.get(columns.IMPORTED)
    return f"{name} ({imported})" if isinstance(imported, str) else name


def _cell_or_none(value: float | None) -> float | None:
    """A cell, None where it is empty."""
    return None if value is None or value != value else float(value)


def _failures_table(findings: Findings) -> Table:
    failures = findings.failures
    networks = [(f"network {failures.title(n)}", n.error, n.num_trials) for n in failures.networks]
    students = [
        (count_noun(group.num_students, "student"), group.error, group.num_trials) for group in failures.students
    ]
    searches = [("search for weights", group.error, group.num_trials) for group in failures.searches]
    return Table(
        "What failed",
        "The last column counts the trials that have no student because of it; equal students are trained once, so "
        "several trials may share one. `--retry-failed` tries recorded failures again.",
        ("what", "error", "trials"),
        tuple((what, error, str(num)) for what, error, num in (*networks, *students, *searches)),
        num_text_columns=2,
    )
