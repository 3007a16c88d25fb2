"""`wetakd run`: run a study and print its report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from shlex import quote
from shutil import which
from typing import TYPE_CHECKING

import click

from wetakd.commands.options import (
    EXIT_CODES,
    FILE_ARGUMENT,
    JSON_OPTION,
    OVERRIDES_OPTION,
    search_working_directory,
    storage_uri,
)
from wetakd.common.guarded_output import ignoring_closed_output, terminal_columns
from wetakd.config import StudyConfig
from wetakd.config.study_file import load_study_file
from wetakd.storage.addresses import study_path
from wetakd.storage.atomic_store import Store

if TYPE_CHECKING:
    from wetakd.study import StudyResult


@click.command(short_help="Run a study and print its report.", epilog=EXIT_CODES)
@FILE_ARGUMENT
@OVERRIDES_OPTION
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--revise", is_flag=True, help="Accept a file that changed under an old study name.")
@click.option("--retry-failed", is_flag=True, help="Try again what is recorded as failed.")
@JSON_OPTION
def run(
    file: str | None, overrides: tuple[str, ...], quiet: bool, revise: bool, retry_failed: bool, as_json: bool
) -> int:
    """Run the study FILE (a YAML file; without one, the embedded study of digits) and print its report.

    What storage holds already is not done again: after a crash or Ctrl-C, the same command goes on from there. Exit
    code 1 also where a trial has no student or MLflow lacks something; the last lines say which.

    In the JSON, "errors" and "num_failed" count trials, several of which may share one student; "failures" counts
    networks and distinct students.

    Training that diverged and errors of your own functions (model, loss, strategy) are recorded with their reason and
    are not tried again, unless you pass --retry-failed. Lack of memory and lost workers are never recorded.

    \b
    Examples:
      wetakd run
      wetakd run my-study.yaml --set study.seeds=5 --set storage=s3://bucket/wetakd
      wetakd run my-study.yaml --quiet --json > report.json
    """
    from wetakd.common.progress import make_reporter
    from wetakd.study import Study

    search_working_directory()
    config = load_study_file(file, overrides)
    with ignoring_closed_output():
        result = Study(config, reporter=make_reporter(quiet), revise=revise, retry_failed=retry_failed).run()
    if as_json:
        click.echo(json.dumps(result.report.to_dict(), indent=2))
    else:
        click.echo(f"{result.report.text_of_width(terminal_columns())}\n\n{_closing_lines(config, result)}")
    return result.exit_code


def _closing_lines(config: StudyConfig, result: StudyResult) -> str:
    from wetakd.common.number_format import count_noun
    from wetakd.common.progress import format_duration

    networks = count_noun(result.num_networks_trained, "network")
    students = count_noun(result.num_students_trained, "student")
    lines = [
        f"{networks} and {students} trained in {format_duration(result.seconds)}; the rest was on storage.",
        f"Report:  {Store(config.storage).redacted_uri}/{study_path(config.study.name, 'report.html')}",
    ]
    if failures := result.report.findings.failures:
        lines.append(f'Failed:  {failures.summary}; see "What failed" above')
        lines.append("         recorded failures are tried again only with --retry-failed")
    if not result.tracked:
        lines.append(f"MLflow:  does not have all of it yet; send the rest with: {_next('sync', config)}")
    elif config.mlflow.enabled:
        lines.append(f"MLflow:  {_next('ui', config)}")
    if result.winner is not None:
        lines.append(f"Winner:  {_next('export', config)}{' --trust-code' if config.functions else ''}")
    return "\n".join(lines)


def _next(command: str, config: StudyConfig) -> str:
    """A command for this study that can be typed as it stands."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "wetakd" and which("wetakd") is None else "wetakd"
    storage = Store(config.storage).redacted_uri
    is_default = storage == Store(storage_uri(None)).redacted_uri
    return " ".join([program, command, config.study.name, *([] if is_default else ["--storage", quote(storage)])])
