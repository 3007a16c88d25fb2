"""`wetakd plan`: what a study would train and cost."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING

import click

from wetakd.commands.options import (
    EXIT_CODES,
    FILE_ARGUMENT,
    JSON_OPTION,
    OVERRIDES_OPTION,
    search_working_directory,
    storage_at,
)
from wetakd.common.redact import redact
from wetakd.config.study_file import load_study_file

if TYPE_CHECKING:
    pass


@click.command(short_help="Say what a study would train and cost.", epilog=EXIT_CODES)
@FILE_ARGUMENT
@OVERRIDES_OPTION
@JSON_OPTION
def plan(file: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what the study FILE would train and cost, and what of it storage holds already. Trains nothing.

    Reads the images and builds every network, so whatever cannot work is said here.

    \b
    Examples:
      wetakd plan my-study.yaml
      wetakd plan my-study.yaml --set study.subsets=[2] --json
    """
    from dataclasses import asdict

    from wetakd.common.progress import make_reporter
    from wetakd.plan import checks_before_training
    from wetakd.plan.cost_forecast import forecast
    from wetakd.plan.resolved_precision import recorded_or_resolved_here
    from wetakd.plan.study_plan import Plan
    from wetakd.stages.data_loading import load_data

    search_working_directory()
    config = load_study_file(file, overrides)
    checks_before_training.check_placements(config)
    store = storage_at(config.storage)
    dataset = load_data(config, make_reporter(quiet=as_json))
    whole = Plan(config, dataset, recorded_or_resolved_here(store, config))
    checks_before_training.check_models(config, dataset, whole, store)
    found = forecast(whole, store)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    words = [
        "wetakd run",
        *([quote(file)] if file else []),
        *(f"--set {quote(redact(override))}" for override in overrides),
    ]
    click.echo(f"{found.text}\n\nNext: {' '.join(words)}")
