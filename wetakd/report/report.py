"""The report of a study: the same findings as terminal text, Markdown, one HTML page, JSON and figures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from wetakd.report import figure_files
from wetakd.report.html_page import html_text
from wetakd.report.markdown import description_text, markdown_text
from wetakd.report.plain_text import TERMINAL_WIDTH, WIDEST, terminal_text
from wetakd.report.verdict_sentences import Statement, verdict
from wetakd.results.findings import Findings, compute_findings
from wetakd.results.stored_results import Results


@dataclass(frozen=True)
class Report:
    """What a study found, in numbers (`findings`) and in words (`verdict`)."""

    findings: Findings
    verdict: tuple[Statement, ...]

    @cached_property
    def text(self) -> str:
        """Main table and verdict, at most 80 columns."""
        return self.text_of_width(TERMINAL_WIDTH)

    def text_of_width(self, width: int) -> str:
        """The same for a terminal of `width` columns; from 80 to 120 of them are used."""
        return terminal_text(self.findings, self.verdict, max(TERMINAL_WIDTH, min(width, WIDEST)))

    @cached_property
    def markdown(self) -> str:
        """Verdict, all tables, and the pictures of `files` by their relative paths."""
        captions = figure_files.captions(self.findings.results)
        pictures = {caption: f"figures/{name}.png" for name, caption in captions.items()}
        return markdown_text(self.findings, self.verdict, pictures)

    @cached_property
    def description(self) -> str:
        """Markdown short enough for the description of an MLflow run: the verdict and the first tables."""
        return description_text(self.findings, self.verdict)

    @cached_property
    def html(self) -> str:
        """One self-contained page."""
        captions = figure_files.captions(self.findings.results)
        return html_text(
            self.findings,
            self.verdict,
            {caption: self.pictures[f"{name}.svg"] for name, caption in captions.items()},
        )

    @cached_property
    def pictures(self) -> dict[str, bytes]:
        """Every figure as PNG and SVG by file name."""
        return figure_files.figure_bytes(self.findings.results)

    def to_dict(self) -> dict[str, Any]:
        """All numbers and words, JSON-safe; accuracies and differences in shares of 1."""
        return self.findings.to_dict() | {"verdict": [statement.to_dict() for statement in self.verdict]}

    def files(self) -> dict[str, bytes]:
        """Every rendering by its path within the study's folder."""
        texts = {
            "report.txt": self.text + "\n",
            "report.md": self.markdown,
            "report.html": self.html,
            "report.json": json.dumps(self.to_dict(), indent=2) + "\n",
        }
        pictures = {f"figures/{name}": data for name, data in self.pictures.items()}
        return {path: text.encode() for path, text in texts.items()} | pictures

    def headline(self) -> dict[str, float]:
        """The few numbers that stand for the whole study; shares of 1."""
        winner, declared = self.findings.results.winner, self.findings.primary
        primary = declared.difference if declared else None
        tested = [row.accuracy.mean for row in self.findings.rows if row.is_winner and row.accuracy]
        numbers = {
            "student_choose_accuracy": winner.mean_choose_accuracy if winner else None,
            "student_test_accuracy": tested[0] if tested else None,
            **asdict(self.findings.results.spending),
            "primary_difference": primary.mean if primary else None,
            "primary_difference_low": primary.low if primary else None,
            "primary_difference_high": primary.high if primary else None,
        }
        return {name: float(value) for name, value in numbers.items() if value is not None}


def build_report(results: Results) -> Report:
    """The report on `results`; needs nothing else."""
    findings = compute_findings(results)
    return Report(findings, verdict(findings))
