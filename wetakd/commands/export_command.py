"""The command `wetakd export`."""

from __future__ import annotations

from pathlib import Path

import click

from wetakd.commands.options import EXIT_CODES, STORAGE_OPTION, STUDY_ARGUMENT, search_working_directory, storage_at


@click.command(short_help="Write the winner of STUDY, ready to ship.", epilog=EXIT_CODES)
@STUDY_ARGUMENT
@STORAGE_OPTION
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Folder to write.  [default: STUDY-student]")
@click.option("--onnx", is_flag=True, help="Write student.onnx too, checked against torch.")
@click.option("--int8", is_flag=True, help="Write student.int8.onnx too, its accuracy measured; implies --onnx.")
@click.option("--trust-code", is_flag=True, help="Run the functions that the study's file on storage names.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def export(
    study: str, storage: str | None, folder: Path | None, onnx: bool, int8: bool, trust_code: bool, quiet: bool
) -> None:
    """Write the winner of STUDY, ready to ship: weights, MLflow model, and a model card that says how to use it.

    The study must be finished, and its images must be where they were: the transform is part of the model, and what is
    written is checked on them. Where the study names functions of your own, --trust-code says that nobody else can have
    named them: whoever can write to the storage could. --onnx and --int8 need the extra `wetakd[onnx]`.

    \b
    Examples:
      wetakd export digits
      wetakd export digits --int8 --to models/digits
    """
    from wetakd.commands.shipping import Formats
    from wetakd.commands.shipping import export as write
    from wetakd.common.progress import reporter
    from wetakd.plan.stored_studies import config_of

    if trust_code:
        search_working_directory()
    store = storage_at(storage)
    config = config_of(store, study)
    formats = Formats(onnx=onnx or int8, int8=int8)
    target = folder or Path(f"{study}-student")
    for path in write(config, store, target, formats, reporter(quiet), trust_code=trust_code):
        click.echo(path)
    click.echo(f"\nThe model card says how to use it: {target / 'README.md'}")
