"""`wetakd export`: the winner of a study in a folder of its own, with a model card that says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wetakd.commands.options import EXIT_CODES, STORAGE_OPTION, STUDY_ARGUMENT, search_working_directory, storage_at
from wetakd.common.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from wetakd.common.progress import Reporter
    from wetakd.config import ModelConfig, StudyConfig
    from wetakd.data.dataset import Dataset
    from wetakd.export.student_files import Formats
    from wetakd.results.stored_results import Results
    from wetakd.storage.atomic_store import Store

CARD = "README.md"


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
    from wetakd.common.progress import make_reporter
    from wetakd.export.student_files import Formats
    from wetakd.plan.stored_studies import read_study_config

    if trust_code:
        search_working_directory()
    store = storage_at(storage)
    config = read_study_config(store, study)
    formats = Formats(onnx=onnx or int8, int8=int8)
    target = folder or Path(f"{study}-student")
    for path in export_winner(config, store, target, formats, make_reporter(quiet), trust_code=trust_code):
        click.echo(path)
    click.echo(f"\nThe model card says how to use it: {target / 'README.md'}")


def export_winner(
    config: StudyConfig,
    store: Store,
    folder: Path,
    formats: Formats,
    reporter: Reporter,
    *,
    trust_code: bool = False,
) -> list[Path]:
    """Write the winner of a finished study into `folder`; returns the files and folders.

    Reads the study's images again: their transform belongs to the model, and the checks need some.

    Args:
        config: the study's file, as the storage has it.
        store: the storage of the study.
        folder: where to write; must be empty, new or an earlier export.
        formats: what to write beside safetensors, the MLflow model and the card.
        reporter: shows the progress.
        trust_code: whether functions that `config` names may be run; whoever can write to the storage can name them.

    Raises:
        UserError: a file that names functions without `trust_code`, no results, no winner, other images than it was
            trained on, a folder that has other things in it, a network that ONNX does not carry.
    """
    from wetakd.export import onnx_export
    from wetakd.export.model_card import model_card
    from wetakd.export.shipped_student import DESCRIPTION_FILE
    from wetakd.export.student_files import write_student_files
    from wetakd.plan.study_plan import Plan
    from wetakd.results.stored_results import Results
    from wetakd.stages.data_loading import load_data

    if config.functions and not trust_code:
        field, function = next(iter(config.functions.items()))
        raise UserError(
            f"{field}: {function!r} is code that the study's file on {store.redacted_uri} names; "
            "pass --trust-code to run it"
        )
    if formats.onnx or formats.int8:
        onnx_export.check_installed()
    results = Results.read(store, config.study.name)
    if results.winner is None:
        raise UserError(
            f"study {results.study!r}: has no winner, for no student was finished; `wetakd report` says why"
        )
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / DESCRIPTION_FILE).is_file())
    ):
        raise UserError(f"--to: {str(folder)!r} is there already and no earlier export; name another folder")
    dataset = load_data(config, reporter)
    plan = Plan(config, dataset)
    if results.winner.point not in plan.points:  # whoever writes there could name any function, to be called here
        raise UserError(
            f"study {results.study!r}: its results on {store.redacted_uri} answer another file; run it again"
        )
    block = plan.student_config(results.winner.point)
    student = _load_winner(store, results, block.model, dataset, trust_code)
    folder.mkdir(parents=True, exist_ok=True)
    with reporter.stage("export", 1.0):
        measured = write_student_files(student, block.model, dataset, folder, formats)
        text = model_card(config, block, dataset, results, measured)
        (folder / CARD).write_text(text, encoding="utf-8")
    return sorted(folder.iterdir())


def _load_winner(store: Store, results: Results, model: ModelConfig, dataset: Dataset, trust_code: bool) -> nn.Module:
    from wetakd.results import columns
    from wetakd.stages import training_run
    from wetakd.storage.addresses import WEIGHTS_BLOB, student_address
    from wetakd.storage.training_facts import TrainingFacts

    assert results.winner is not None
    key = results.winner.student_key
    row = results.trials[results.trials[columns.STUDENT_KEY] == key].iloc[0]
    manifest = store.find_intact(student_address(key))
    if manifest is None:
        raise UserError(
            f"student {key}: is no longer on {store.redacted_uri}; run the study again, which trains it anew"
        )
    if TrainingFacts.from_manifest(manifest).data != dataset.fingerprint:
        raise UserError("data: is not what the winner was trained on; give the same images back, or run the study anew")
    if manifest.blobs[WEIGHTS_BLOB].sha256 != row[columns.STUDENT_DIGEST]:
        raise UserError(
            f"student {key}: was trained again, on a device that is not deterministic, since the study's table was "
            "written; run the study again, which evaluates the new weights"
        )
    return training_run.load_model(store, manifest, model, dataset, trust_code=trust_code)
