"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wetakd.report.tables import Table, report_tables
from wetakd.report.verdict_sentences import Statement
from wetakd.results.findings import Findings

# MLflow cuts a tag, and so a run's description, at 8,000 characters.
MOST_CHARACTERS = 7_900


def markdown_text(findings: Findings, verdict: Sequence[Statement], pictures: Mapping[str, str]) -> str:
    """Verdict, tables and pictures; `pictures` maps a caption to the path of its file."""
    parts = [
        f"# Study {findings.results.study}",
        "## Verdict",
        *(_markdown_statement(statement) for statement in verdict),
    ]
    parts += [_markdown_table(table) for table in report_tables(findings)]
    if pictures:
        parts += ["## Figures", *(f"![{caption}]({path})" for caption, path in pictures.items())]
    return "\n\n".join(parts) + "\n"


def description_text(findings: Findings, verdict: Sequence[Statement]) -> str:
    """Verdict and as many tables, from the first on, as fit into an MLflow description."""
    parts = [_markdown_statement(statement) for statement in verdict]
    for table in report_tables(findings):
        if sum(len(part) + 2 for part in [*parts, _markdown_table(table)]) > MOST_CHARACTERS:
            break
        parts.append(_markdown_table(table))
    return "\n\n".join(parts)


def _markdown_statement(statement: Statement) -> str:
    head = f"**{statement.question}.** {statement.answer}"
    return "\n".join([head, *([""] if statement.items else []), *(f"- {item}" for item in statement.items)])


def _markdown_table(table: Table) -> str:
    rule = ["---" if index < table.num_text_columns else "---:" for index in range(len(table.columns))]
    lines = [_markdown_row(table.columns), _markdown_row(rule), *(_markdown_row(row) for row in table.rows)]
    return f"## {table.title}\n\n{table.note}\n\n" + "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"
