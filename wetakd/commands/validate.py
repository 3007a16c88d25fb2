"""`wetakd validate`: check a study file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wetakd.commands.options import (
    EXIT_CODES,
    FILE_ARGUMENT,
    OVERRIDES_OPTION,
    search_working_directory,
)
from wetakd.config.study_file import load_study_file

if TYPE_CHECKING:
    pass


@click.command(short_help="Check a study file.", epilog=EXIT_CODES)
@FILE_ARGUMENT
@OVERRIDES_OPTION
def validate(file: str | None, overrides: tuple[str, ...]) -> None:
    """Check the study FILE: every field, and how the fields fit together. Reads no data.

    \b
    Example:
      wetakd validate my-study.yaml
    """
    search_working_directory()
    config = load_study_file(file, overrides)
    click.echo(
        f"{config.study.name}: fine. {len(config.assistants)} assistants, {len(config.subsets)} sets of networks, "
        f"{len(config.study.seeds)} seeds. Next: wetakd plan {file or ''}".rstrip()
    )
