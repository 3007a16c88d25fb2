"""The commands `wetakd run`, `plan`, `validate`, `report` and `ui`: one study, from its file to its pages."""

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
    FILE,
    JSON,
    OVERRIDES,
    STORAGE,
    STUDY,
    search_working_directory,
    storage_at,
    storage_uri,
)
from wetakd.common.errors import UserError
from wetakd.common.output import columns, outliving_its_readers
from wetakd.common.redact import hide
from wetakd.config import StudyConfig
from wetakd.config.study_file import load
from wetakd.storage.store import Store

if TYPE_CHECKING:
    from wetakd.study import StudyResult


@click.command(short_help="Run a study and print its report.", epilog=EXIT_CODES)
@FILE
@OVERRIDES
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--revise", is_flag=True, help="Accept a file that changed under an old study name.")
@click.option("--retry-failed", is_flag=True, help="Try again what is recorded as failed.")
@JSON
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
    from wetakd.common.progress import reporter
    from wetakd.study import Study

    search_working_directory()
    config = load(file, overrides)
    with outliving_its_readers():
        result = Study(config, reporter=reporter(quiet), revise=revise, retry_failed=retry_failed).run()
    if as_json:
        click.echo(json.dumps(result.report.to_dict(), indent=2))
    else:
        click.echo(f"{result.report.text_of_width(columns())}\n\n{_closing_lines(config, result)}")
    return result.exit_code


def _closing_lines(config: StudyConfig, result: StudyResult) -> str:
    from wetakd.common.number_format import many
    from wetakd.common.progress import duration

    lines = [
        f"{many(result.num_networks_trained, 'network')} and {many(result.num_students_trained, 'student')} trained "
        f"in {duration(result.seconds)}; the rest was on storage.",
        f"Report:  {Store(config.storage).shown}/studies/{config.study.name}/report.html",
    ]
    if failures := result.report.findings.failures:
        lines.append(f'Failed:  {failures.summary}; see "What failed" above')
        lines.append("         recorded failures are tried again only by: wetakd run --retry-failed")
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
    storage = Store(config.storage).shown
    is_default = storage == Store(storage_uri(None)).shown
    return " ".join([program, command, config.study.name, *([] if is_default else ["--storage", quote(storage)])])


@click.command(short_help="Say what a study would train and cost.", epilog=EXIT_CODES)
@FILE
@OVERRIDES
@JSON
def plan(file: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what the study FILE would train and cost, and what of it storage holds already. Trains nothing.

    Reads the images and builds every network, so whatever cannot work is said here.

    \b
    Examples:
      wetakd plan my-study.yaml
      wetakd plan my-study.yaml --set study.subsets=[2] --json
    """
    from dataclasses import asdict

    from wetakd.common.progress import reporter
    from wetakd.plan import checks
    from wetakd.plan.forecast import forecast
    from wetakd.plan.study_plan import Plan
    from wetakd.stages.steps import load_data

    search_working_directory()
    config = load(file, overrides)
    checks.check_placements(config)
    store = Store(config.storage)
    store.check_readable()
    dataset = load_data(config, reporter(quiet=as_json))
    whole = Plan(config, dataset)
    checks.check_models(config, dataset, whole, store)
    found = forecast(whole, store)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    words = [
        "wetakd run",
        *([quote(file)] if file else []),
        *(f"--set {quote(hide(override))}" for override in overrides),
    ]
    click.echo(f"{found.text}\n\nNext: {' '.join(words)}")


@click.command(short_help="Check a study file.", epilog=EXIT_CODES)
@FILE
@OVERRIDES
def validate(file: str | None, overrides: tuple[str, ...]) -> None:
    """Check the study FILE: every field, and how the fields fit together. Reads no data.

    \b
    Example:
      wetakd validate my-study.yaml
    """
    search_working_directory()
    config = load(file, overrides)
    click.echo(
        f"{config.study.name}: fine. {len(config.assistants)} assistants, {len(config.subsets)} sets of networks, "
        f"{len(config.study.seeds)} seeds. Next: wetakd plan {file or ''}".rstrip()
    )


@click.command(short_help="Print the report of STUDY.", epilog=EXIT_CODES)
@STUDY
@STORAGE
@JSON
def report(study: str, storage: str | None, as_json: bool) -> None:
    """Print the report of STUDY, rebuilt from what storage holds of it, and write its files anew.

    The files stand in studies/STUDY of the storage: report.html (one page, opens without a network), report.md,
    report.json, figures, and the tables as Parquet.

    \b
    Examples:
      wetakd report digits
      wetakd report digits --json --storage s3://bucket/wetakd
    """
    from wetakd.plan.stored_studies import config_of
    from wetakd.report.report import build
    from wetakd.results.stored_results import Results
    from wetakd.stages.steps import write_report

    store = storage_at(storage)
    config_of(store, study)
    built = build(Results.read(store, study))
    write_report(store, study, built.files())
    click.echo(json.dumps(built.to_dict(), indent=2) if as_json else built.text_of_width(columns()))


@click.command(short_help="Open STUDY in MLflow.", epilog=EXIT_CODES)
@STUDY
@STORAGE
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def ui(study: str, storage: str | None, port: int) -> None:
    """Open STUDY in MLflow: starts its pages on this machine alone and prints the link. Ctrl-C ends them.

    Where the study was tracked by a server, it only prints the link.

    \b
    Example:
      wetakd ui digits --port 5001
    """
    from wetakd.commands import ui as pages
    from wetakd.plan.stored_studies import config_of
    from wetakd.tracking.event_journal import study_id
    from wetakd.tracking.tracking_uri import tracking_uri_of

    store = storage_at(storage)
    config = config_of(store, study)
    tracking_uri = tracking_uri_of(config.mlflow.tracking_uri, store)
    if not config.mlflow.enabled:
        raise UserError(f"study {study!r}: was run with mlflow.enabled false, so there is nothing to open")
    identity = study_id(store, study)
    if identity is None:
        raise UserError(f"study {study!r}: has told MLflow nothing yet; run it first")
    pages.show(tracking_uri, config.mlflow.experiment, identity, config.question, port, click.echo)
