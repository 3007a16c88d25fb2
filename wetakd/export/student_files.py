"""The files of a shipped student: safetensors, an MLflow model, and on request ONNX and int8."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from wetakd.config import ModelConfig
from wetakd.data.dataset import Dataset
from wetakd.export import onnx_export
from wetakd.export.model_card import OnnxFacts
from wetakd.export.shipped_student import ShippedStudent, save_mlflow_model, save_student

ONNX, INT8, MLFLOW = "student.onnx", "student.int8.onnx", "mlflow"
_NUM_COMPARED = 256


@dataclass(frozen=True)
class Formats:
    """What to write beside safetensors and the MLflow model."""

    onnx: bool = False
    int8: bool = False


def write_student_files(
    student: nn.Module, model: ModelConfig, dataset: Dataset, folder: Path, formats: Formats
) -> OnnxFacts | None:
    """Write the student into `folder`, without its card; returns what was measured of the ONNX files."""
    for old in (folder / ONNX, folder / INT8):
        old.unlink(missing_ok=True)
    shutil.rmtree(folder / MLFLOW, ignore_errors=True)
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
    onnx_export.quantise_onnx(path, images_NCHW[some], folder / INT8)
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
