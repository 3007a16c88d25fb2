"""Failures of a training or a search that would happen again: divergence, and errors of the user's functions.

Only these are recorded on storage. Whatever the machine or the cluster may cause (out-of-memory, files, lost workers,
device faults) passes through unchanged, because another try may succeed.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn

from wetakd.common.errors import UserError, describe_error


class DeterministicError(RuntimeError):
    """Running the same work again would end the same way."""

    epochs: Sequence[Mapping[str, Any]] = ()
    """Records of the epochs that were done before."""


class UserFunctionError(DeterministicError):
    """A function that the study file names (model, loss) raised an exception."""


RECORDED = (DeterministicError, FloatingPointError)
"""Failures that are recorded. FloatingPointError: logits that are not finite or do not fit into float16."""

_MACHINE = (MemoryError, OSError, ImportError, UserError, torch.OutOfMemoryError, torch.AcceleratorError)
# Faults of memory, device or connection that torch raises as a plain RuntimeError.
_MACHINE_TEXTS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUDA error",
    "CUBLAS_STATUS",
    "cuDNN error",
    "NCCL error",
)


def user_function(name: str | None) -> str | None:
    """`name` if it is a `package.module:callable` of the user's, else None."""
    return name if name and ":" in name and not name.startswith("torchvision:") else None


def may_pass(error: BaseException) -> bool:
    """Whether an exception out of a user's function may be the machine's or the cluster's, so another try may help."""
    if isinstance(error, _MACHINE) or any(kind.__module__.partition(".")[0] == "ray" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MACHINE_TEXTS)


@contextmanager
def errors_of(function: str | None) -> Iterator[None]:
    """Raise as UserFunctionError what the user's `function` raises in the block; None: the code is ours."""
    try:
        yield
    except Exception as error:
        if function is None or isinstance(error, RECORDED) or may_pass(error):
            raise
        raise UserFunctionError(f"{function} raised {describe_error(error, 300)} ({_raised_at(error)})") from error


def _raised_at(error: Exception) -> str:
    """File and line that raised; where torch raised, of the last call into it."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames) if "/torch/" not in frame.filename), frames[-1])
    return f"{PurePath(last.filename).name}, line {last.lineno}"


class UserModel(nn.Module):
    """Calls the user's model for a training step. It belongs below DDP, whose own errors are not the user's."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, inputs_BCHW: Tensor) -> Tensor:
        """Logits; raises UserFunctionError where the model raises."""
        with errors_of(self.name):
            logits_BC: Tensor = self.model(inputs_BCHW)
        return logits_BC
