"""The tensors of a checkpoint file, read without running anything that is in it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from wetakd.common.errors import UserError

# Where training scripts like to keep a state_dict within their checkpoints.
_NESTS = ("state_dict", "model", "model_state_dict")
_WRAPPED = "module."


def read_tensors(data: bytes, where: str) -> Mapping[str, Tensor]:
    """Tensors by name, out of safetensors or of what torch.save wrote; read without running anything."""
    try:
        state: Any = load_safetensors(data)
    except SafetensorError:
        try:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception as error:  # its readers of damaged bytes raise anything
            raise UserError(
                f"{where} is neither safetensors nor a state_dict that torch.save wrote (whole models are not read, "
                "for that would run their code)"
            ) from error
    for nest in _NESTS:
        if isinstance(state, dict) and isinstance(state.get(nest), dict):
            state = state[nest]
    tensors = isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not tensors or not state:
        raise UserError(f"{where} holds no state_dict: tensors by name are needed")
    # DistributedDataParallel and DataParallel put this before every name.
    wrapped = all(key.startswith(_WRAPPED) for key in state)
    return {key.removeprefix(_WRAPPED) if wrapped else key: value for key, value in state.items()}
