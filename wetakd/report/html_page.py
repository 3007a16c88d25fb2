"""The report as one HTML file that opens without a network: styles and pictures inside, light and dark."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from wetakd.common.number_format import count_noun
from wetakd.report.tables import Table, report_tables
from wetakd.report.verdict_sentences import Statement
from wetakd.results.findings import Findings

# Tables that a first reader wants; the others are folded.
_OPEN = ("Strategies over the full pool", "Controls", "By number of assistants", "What failed")

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #fff; --tint: #f4f6f9;
        --mark: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #9aa5b4; --line: #38414d; --paper: #14181e; --tint: #1d232b; --mark: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
       "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .6rem; }
p { margin: .4rem 0; }
.soft, .note { color: var(--soft); font-size: .9rem; }
.note { max-width: 46rem; }
.lead { font-size: 1.1rem; border-left: 4px solid var(--mark); background: var(--tint); padding: .8rem 1.1rem;
        margin: 1.4rem 0; border-radius: 0 6px 6px 0; }
dl { display: grid; grid-template-columns: minmax(9rem, 13rem) 1fr; gap: .8rem 1.5rem; margin: 1.2rem 0; }
dt { font-weight: 600; }
dd { margin: 0; max-width: 46rem; }
dd ul { margin: .3rem 0 0; padding-left: 1.1rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: .2rem; } dd { margin-bottom: .8rem; } }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; margin-top: .6rem; }
table { border-collapse: collapse; font-size: .86rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
td { white-space: nowrap; }
th { background: var(--tint); font-weight: 600; vertical-align: bottom; }
.text { text-align: left; }
td.text { white-space: normal; min-width: 9rem; }
tr:last-child td { border-bottom: 0; }
tr.won td { background: var(--tint); font-weight: 600; }
summary { cursor: pointer; font-size: 1.1rem; font-weight: 600; margin: 1.6rem 0 .4rem; }
.pictures { columns: 2 28rem; column-gap: 1.2rem; }
figure { margin: 0 0 1.2rem; break-inside: avoid;
         background: #fff; border: 1px solid var(--line); border-radius: 6px; padding: .6rem; }
figure img { display: block; width: 100%; height: auto; }
"""


def html_text(findings: Findings, verdict: Sequence[Statement], pictures: Mapping[str, bytes]) -> str:
    """The whole page; `pictures` maps a caption to an SVG file."""
    study = escape(findings.results.study)
    parts = [
        f"<h1>{study}</h1>",
        f'<p class="soft">{escape(_subtitle(findings))}</p>',
        f'<p class="lead">{_prose(verdict[0].answer)}</p>',
        "<h2>Verdict</h2>",
        f"<dl>{''.join(_html_statement(statement) for statement in verdict[1:])}</dl>",
    ]
    if pictures:
        shown = "".join(_picture(caption, svg) for caption, svg in pictures.items())
        parts += ["<h2>Figures</h2>", f'<div class="pictures">{shown}</div>']
    parts += ["<h2>Tables</h2>", *(_html_table(table) for table in report_tables(findings))]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{study} · wetakd</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _subtitle(findings: Findings) -> str:
    replicates = f", {findings.num_replicates} replicates of teacher and assistants" * (findings.num_replicates > 1)
    return (
        f"Weighted ensembles of teaching assistants: {count_noun(len(findings.results.trials), 'trial')}, "
        f"{count_noun(findings.num_seeds, 'seed')}{replicates}, {findings.results.num_classes} classes. "
        "Points are percentage points; brackets and ± are 95 % intervals."
    )


def _prose(text: str) -> str:
    """Escaped text with `code` set as such."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))


def _html_statement(statement: Statement) -> str:
    items = "".join(f"<li>{_prose(item)}</li>" for item in statement.items)
    listed = f"<ul>{items}</ul>" if items else ""
    return f"<dt>{escape(statement.question)}</dt><dd>{_prose(statement.answer)}{listed}</dd>"


def _picture(caption: str, svg: bytes) -> str:
    # As an image of its own, so that the names inside one picture cannot meet those of another.
    data = base64.b64encode(svg).decode("ascii")
    return f'<figure><img alt="{escape(caption)}" src="data:image/svg+xml;base64,{data}"></figure>'


def _html_table(table: Table) -> str:
    head = "".join(f"<th{_class(table, index)}>{escape(name)}</th>" for index, name in enumerate(table.columns))
    body = "".join(_html_row(table, row) for row in table.rows)
    scrolled = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    opened = " open" if table.title in _OPEN else ""
    summary = f"<summary>{escape(table.title)}</summary>"
    return f'<details{opened}>{summary}<p class="note">{_prose(table.note)}</p>{scrolled}</details>'


def _html_row(table: Table, row: Sequence[str]) -> str:
    won = ' class="won"' if row[0].startswith("★") else ""
    cells = "".join(f"<td{_class(table, index)}>{escape(cell)}</td>" for index, cell in enumerate(row))
    return f"<tr{won}>{cells}</tr>"


def _class(table: Table, index: int) -> str:
    return ' class="text"' if index < table.num_text_columns else ""
