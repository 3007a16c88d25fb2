"""The winner, ready to ship: a network that takes uint8 images and normalises them itself.

The exported network carries the resolved transform of the study, so what served images go through is what the
student was trained on. On disk it is `student.safetensors` (the weights) beside `student.json` (what to build, and
the transform), as an MLflow model, and as ONNX (`wetakd.export.onnx_export`).
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from wetakd.common.errors import UserError, one_line
from wetakd.common.process_state import restored, set_default_variables, set_level
from wetakd.config import ModelConfig
from wetakd.data.dataset import Dataset
from wetakd.data.transform import Transform
from wetakd.models.cost import InputShape
from wetakd.models.registry import build_model
from wetakd.training.train_state import load_state, state_bytes

MODEL_NAME = "student"
WEIGHTS_FILE, DESCRIPTION_FILE = f"{MODEL_NAME}.safetensors", f"{MODEL_NAME}.json"
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


def save_student(student: nn.Module, model: ModelConfig, dataset: Dataset, folder: Path) -> None:
    """Write the weights, and what `load_student` needs beside them."""
    description = {
        "model": model.model_dump(mode="json"),
        "transform": dataset.transform.to_dict(),
        "class_names": list(dataset.class_names),
    }
    (folder / WEIGHTS_FILE).write_bytes(state_bytes(student))
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load_student(folder: str | Path, *, trust_code: bool = False) -> ShippedStudent:
    """The student that `wetakd export` wrote into `folder`, in evaluation mode.

    Args:
        folder: where `student.json` and `student.safetensors` are.
        trust_code: whether a function that `student.json` names may be imported and called. A network of your own
            needs it. Without it only networks of wetakd and torchvision are built, and nothing is downloaded.

    Raises:
        UserError: files that are missing, damaged or do not belong together; a network of your own without
            `trust_code`, or that cannot be imported here.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        transform = Transform.from_dict(description["transform"])
        model, num_classes = ModelConfig(**description["model"]), len(description["class_names"])
        weights = (folder / WEIGHTS_FILE).read_bytes()
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{folder}: holds no exported student: {one_line(error)}") from error
    shape = InputShape(transform.channels, transform.height, transform.width)
    field = f"{folder / DESCRIPTION_FILE}: model"
    student = build_model(model, shape, num_classes, seed=0, field=field, trust_code=trust_code)
    load_state(student, weights)
    return ShippedStudent(student, transform).eval()


def save_mlflow_model(student: nn.Module, dataset: Dataset, folder: Path) -> None:
    """Write an MLflow model (torch.export format, so nothing is pickled) with signature and input example."""
    example = np.ascontiguousarray(dataset.images_NCHW[dataset.splits.choose[:_NUM_EXAMPLES]])
    shipped = ShippedStudent(student.cpu().eval(), dataset.transform).eval()
    versions = [f"torch=={torch.__version__.split('+')[0]}", f"numpy=={np.__version__}"]
    metadata = {
        "class_names": json.dumps(list(dataset.class_names)),
        "transform": json.dumps(dataset.transform.to_dict()),
    }
    with restored():
        set_default_variables({"MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true"})
        import mlflow.pytorch

        set_level("mlflow", logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mlflow.pytorch.save_model(
                shipped, str(folder), input_example=example, pip_requirements=versions, metadata=metadata
            )
