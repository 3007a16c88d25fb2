"""`wetakd report`: print the report of a study."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from wetakd.commands.options import (
    EXIT_CODES,
    JSON_OPTION,
    STORAGE_OPTION,
    STUDY_ARGUMENT,
    storage_at,
)
from wetakd.common.guarded_output import terminal_columns

if TYPE_CHECKING:
    pass


@click.command(short_help="Print the report of STUDY.", epilog=EXIT_CODES)
@STUDY_ARGUMENT
@STORAGE_OPTION
@JSON_OPTION
def report(study: str, storage: str | None, as_json: bool) -> None:
    """Print the report of STUDY, rebuilt from what storage holds of it, and write its files anew.

    The files stand in studies/STUDY of the storage: report.html (one page, opens without a network), report.md,
    report.json, figures, and the tables as Parquet.

    \b
    Examples:
      wetakd report digits
      wetakd report digits --json --storage s3://bucket/wetakd
    """
    from wetakd.plan.stored_studies import read_study_config
    from wetakd.report.report import build_report
    from wetakd.results.stored_results import Results
    from wetakd.stages.publish import write_report

    store = storage_at(storage)
    read_study_config(store, study)
    built = build_report(Results.read(store, study))
    write_report(store, study, built.files())
    click.echo(json.dumps(built.to_dict(), indent=2) if as_json else built.text_of_width(terminal_columns()))
