"""`wetakd export`: the winner of a study in a folder of its own, with a model card that says what it is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from wetakd.common.errors import UserError
from wetakd.common.progress import Reporter
from wetakd.config import ModelConfig, StudyConfig
from wetakd.data.dataset import Dataset
from wetakd.export import onnx_export
from wetakd.export.model_card import OnnxFacts, card
from wetakd.export.shipped_student import DESCRIPTION, ShippedStudent, save_mlflow_model, save_student
from wetakd.plan.study_plan import Plan
from wetakd.results.stored_results import Results
from wetakd.stages import training_job
from wetakd.stages.steps import load_data
from wetakd.storage.addresses import student_address
from wetakd.storage.atomic_store import Store

CARD, ONNX, INT8, MLFLOW = "README.md", "student.onnx", "student.int8.onnx", "mlflow"
_NUM_COMPARED = 256


@dataclass(frozen=True)
class Formats:
    """What to write beside safetensors, the MLflow model and the card."""

    onnx: bool = False
    int8: bool = False


def export(
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
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / DESCRIPTION).is_file())):
        raise UserError(f"--to: {str(folder)!r} is there already and no earlier export; name another folder")
    dataset = load_data(config, reporter)
    plan = Plan(config, dataset)
    if results.winner.point not in plan.points:  # whoever writes there could name any function, to be called here
        raise UserError(
            f"study {results.study!r}: its results on {store.redacted_uri} answer another file; run it again"
        )
    block = plan.student_config(results.winner.point)
    student = _student(store, results.winner.student_key, block.model, dataset, trust_code)
    folder.mkdir(parents=True, exist_ok=True)
    with reporter.stage("export", 1.0):
        for old in (folder / ONNX, folder / INT8):
            old.unlink(missing_ok=True)
        shutil.rmtree(folder / MLFLOW, ignore_errors=True)
        measured = _write(student, block.model, dataset, folder, formats)
        text = card(config, block, dataset, results, measured)
        (folder / CARD).write_text(text, encoding="utf-8")
    return sorted(folder.iterdir())


def _student(store: Store, key: str, model: ModelConfig, dataset: Dataset, trust_code: bool) -> nn.Module:
    manifest = store.find_intact(student_address(key))
    if manifest is None:
        raise UserError(
            f"student {key}: is no longer on {store.redacted_uri}; run the study again, which trains it anew"
        )
    if manifest.facts.get("data", dataset.fingerprint) != dataset.fingerprint:
        raise UserError("data: is not what the winner was trained on; give the same images back, or run the study anew")
    return training_job.load_model(store, manifest, model, dataset, trust_code=trust_code)


def _write(
    student: nn.Module, model: ModelConfig, dataset: Dataset, folder: Path, formats: Formats
) -> OnnxFacts | None:
    save_student(student, model, dataset, folder)
    save_mlflow_model(student, dataset, folder / MLFLOW)
    if not (formats.onnx or formats.int8):
        return None
    return _write_onnx(ShippedStudent(student, dataset.transform).eval(), dataset, folder, formats)


def _write_onnx(shipped: ShippedStudent, dataset: Dataset, folder: Path, formats: Formats) -> OnnxFacts:
    path, images_NCHW = folder / ONNX, dataset.images_NCHW
    difference = onnx_export.export_onnx(shipped, images_NCHW[dataset.splits.choose[:_NUM_COMPARED]], path)
    accuracy = _accuracy(path, dataset)
    if not formats.int8:
        return OnnxFacts(difference, accuracy, path.stat().st_size)
    # Evenly spread, for ids may be in the order of the classes.
    fit = dataset.splits.fit
    some = fit[np.linspace(0, len(fit) - 1, min(len(fit), onnx_export.NUM_CALIBRATION)).astype(int)]
    onnx_export.quantise(path, images_NCHW[some], folder / INT8)
    return OnnxFacts(
        difference,
        accuracy,
        path.stat().st_size,
        int8_accuracy=_accuracy(folder / INT8, dataset),
        int8_bytes=(folder / INT8).stat().st_size,
        num_calibration=len(some),
    )


def _accuracy(path: Path, dataset: Dataset) -> float:
    test = dataset.splits.test
    logits_NC = onnx_export.predict_onnx(path, dataset.images_NCHW[test])
    return float((logits_NC.argmax(axis=1) == dataset.labels_N[test]).mean())
