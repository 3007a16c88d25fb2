"""The winner, ready to ship: a network that takes uint8 images and normalises them itself.

The exported network carries the resolved transform of the study, so what served images go through is what the
student was trained on.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from wetakd.data import Dataset
from wetakd.transform import Transform

MODEL_NAME = "student"
_NUM_EXAMPLES = 8


class ShippedStudent(nn.Module):
    """A trained student with its transform: uint8 images in, logits out.

    Input: (B, C, H, W) uint8 at the height and width of the transform. Output: (B, classes) float32.
    """

    def __init__(self, student: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.student = student
        self.transform = transform

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Normalise and classify."""
        logits_BC: torch.Tensor = self.student(self.transform.normalise(images_BCHW))
        return logits_BC


def save_mlflow_model(student: nn.Module, dataset: Dataset, folder: Path) -> None:
    """Write an MLflow model (torch.export format, so nothing is pickled) with signature and input example."""
    os.environ.setdefault("MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK", "true")
    import mlflow.pytorch

    example = np.ascontiguousarray(dataset.images_NCHW[dataset.splits.choose[:_NUM_EXAMPLES]])
    shipped = ShippedStudent(student.cpu().eval(), dataset.transform).eval()
    versions = [f"torch=={torch.__version__.split('+')[0]}", f"numpy=={np.__version__}"]
    metadata = {
        "class_names": json.dumps(list(dataset.class_names)),
        "transform": json.dumps(dataset.transform.to_dict()),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        mlflow.pytorch.save_model(
            shipped, str(folder), input_example=example, pip_requirements=versions, metadata=metadata
        )


@contextmanager
def mlflow_model_folder(student: nn.Module, dataset: Dataset) -> Iterator[Path]:
    """A folder with the student as an MLflow model, for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="wetakd-model-") as scratch:
        folder = Path(scratch, MODEL_NAME)
        save_mlflow_model(student, dataset, folder)
        yield folder
