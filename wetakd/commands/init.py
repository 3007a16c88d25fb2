"""`wetakd init`: write a study file for images of your own."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wetakd.commands.options import EXIT_CODES, search_working_directory
from wetakd.common.errors import UserError


@click.command(short_help="Write a study file for images of your own.", epilog=EXIT_CODES)
@click.argument("place", required=False, type=click.Path())
@click.option("--test", default=None, metavar="PATH", help="Where the test set is.  [default: beside PLACE, or cut]")
@click.option("--name", default=None, help="Name of the study.  [default: from PLACE]")
@click.option("--to", "file", default=None, type=click.Path(), metavar="FILE", help="[default: NAME.yaml]")
@click.option("--yes", is_flag=True, help="Ask nothing: digits where no PLACE is given, and write over FILE.")
def init(place: str | None, test: str | None, name: str | None, file: str | None, yes: bool) -> None:
    """Write a commented study file for the images at PLACE, after a look at them.

    PLACE is a folder with a sub-folder for each class, or with train/ and test/; Parquet files, or a folder or URI of
    them; `module:function`, which returns images and labels; or digits, cifar10, cifar100. Asks for it where it is
    not given, and for nothing else.

    \b
    Examples:
      wetakd init photos
      wetakd init data/train.parquet --test data/test.parquet --name birds
      wetakd init my_package.data:load --to study.yaml --yes
    """
    from wetakd.commands.study_template import study_name, study_text
    from wetakd.config.study_file import config_from_text
    from wetakd.data.source_detection import summarise_images

    search_working_directory()
    if place is None:
        place = "digits" if yes else _ask("Where are the images (folder, Parquet, module:function, or digits)")
    name = name or study_name(place)
    target = Path(file or f"{name}.yaml")
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(f"--to: {str(target)!r} must be a file in a folder that is there")
    if (
        target.exists()
        and not yes
        and not (_can_ask() and click.confirm(f"{target} is there. Write over it?", err=True))
    ):
        raise UserError(f"--to: {str(target)!r} is there already; name another file, or pass --yes to write over it")
    found = summarise_images(place, test)
    for note in found.notes:
        click.echo(note, err=True)
    text = study_text(place, found, name, str(target))
    config_from_text(text, f"study file {str(target)!r}")
    target.write_text(text, encoding="utf-8")
    click.echo(f"{target}: {found}.\nNext: wetakd plan {target}")


def _ask(question: str) -> str:
    if not _can_ask():
        raise UserError("PLACE: is required where nobody can be asked; `wetakd init --help` says what it may be")
    answer: str = click.prompt(question, default="digits", err=True)
    return answer


def _can_ask() -> bool:
    return sys.stdin.isatty()
