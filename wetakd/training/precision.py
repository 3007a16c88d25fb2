"""Numerical precision of the forward and backward pass."""

from __future__ import annotations

import torch

from wetakd.common.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_precision(precision: str, device: str) -> str:
    """`auto` as "bfloat16" where the device has instructions for it, else "float32"; the others as they are.

    A CUDA device that this process cannot see is taken to have them.
    """
    if precision != "auto":
        return precision
    if torch.device(device).type == "cpu":
        has_bfloat16 = torch.cpu.get_capabilities().get("avx512_bf16", False)
    else:
        has_bfloat16 = not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if has_bfloat16 else "float32"


def check_precision(precision: str, device: str, *, field: str) -> None:
    """Raise UserError for float16 on a CPU."""
    if precision == "float16" and torch.device(device).type == "cpu":
        raise UserError(f"{field}: float16 needs a GPU; on a CPU choose bfloat16, float32 or auto")
