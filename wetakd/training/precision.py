"""Numerical precision of the forward and backward pass."""

from __future__ import annotations

import torch

from wetakd.common.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_precision(precision: str, device: str, *, field: str) -> None:
    """Raise UserError for float16 on a CPU."""
    if precision == "float16" and torch.device(device).type == "cpu":
        raise UserError(f"{field}: float16 needs a GPU; on a CPU choose bfloat16, float32 or auto")
