"""`wetakd why`: what a study would compute again, and why."""

from __future__ import annotations

import json

import click

from wetakd.commands.options import (
    EXIT_CODES,
    FILE_ARGUMENT,
    JSON_OPTION,
    OVERRIDES_OPTION,
    search_working_directory,
    storage_at,
)
from wetakd.config.study_file import load_study_file


@click.command(short_help="Say why results would be computed again.", epilog=EXIT_CODES)
@FILE_ARGUMENT
@OVERRIDES_OPTION
@JSON_OPTION
def why(file: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what the study FILE would compute again, and the first difference to what storage has. Trains nothing.

    A result is used again if everything that it depends on is the same. For each result that is missing, the stored
    result that is most like it is named by the first field in which the two differ.

    \b
    Examples:
      wetakd why my-study.yaml
      wetakd why my-study.yaml --set teacher.recipe.epochs=40
    """
    from dataclasses import asdict

    from wetakd.common.progress import make_reporter
    from wetakd.plan.recomputation import find_recomputations
    from wetakd.plan.resolved_precision import recorded_or_resolved_here
    from wetakd.plan.study_plan import Plan
    from wetakd.stages.data_loading import load_data

    search_working_directory()
    config = load_study_file(file, overrides)
    store = storage_at(config.storage)
    dataset = load_data(config, make_reporter(quiet=as_json))
    plan = Plan(config, dataset, recorded_or_resolved_here(store, config))
    found = find_recomputations(store, plan)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    for each in found:
        click.echo(each.text)
    if not found:
        click.echo("nothing would be computed again")
