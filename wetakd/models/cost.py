"""What a network costs: parameters, multiply-accumulates, bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import BaseTorchFunctionMode

from wetakd.common.errors import UserError, describe_error
from wetakd.models.evaluation_mode import evaluating


@dataclass(frozen=True)
class InputShape:
    """Shape of one image after the transform."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class ModelCost:
    """Size of a network.

    `macs` are the multiply-accumulates of one image's forward pass in convolutions, transposed convolutions, matrix
    products (linear layers among them) and attention, as torch counts them: half its FLOPs. Elementwise operations,
    normalisation and pooling count nothing. `bytes` is what parameters and buffers take.
    """

    parameters: int
    macs: int
    bytes: int


def forward_zeros(module: nn.Module, shape: InputShape) -> Any:
    """What the network returns for one black image, in evaluation mode."""
    # Not inference mode: lazy layers get their weights here, and those must stay trainable.
    with evaluating(module), torch.no_grad():
        device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
        return module(torch.zeros(1, shape.channels, shape.height, shape.width, device=device))


def measure_cost(module: nn.Module, shape: InputShape, *, field: str = "model") -> ModelCost:
    """Parameters, multiply-accumulates and bytes of a network, from one forward pass.

    Raises:
        UserError: a line that begins with `field`: torch cannot count the operations of this network.
    """
    from torch.utils.flop_counter import FlopCounterMode  # takes a third as long to import as torch itself

    counter = FlopCounterMode(display=False)
    try:
        # Under a torch function mode, attention layers do not take their fused path, whose operations are not counted.
        with BaseTorchFunctionMode(), counter:
            forward_zeros(module, shape)
    except (Exception, SystemExit) as error:
        name = type(module).__name__
        raise UserError(
            f"{field}: the multiply-accumulates of {name} cannot be counted: {describe_error(error)}"
        ) from error
    parameters = list(module.parameters())
    stored = [*parameters, *module.buffers()]
    # A multiplication and an addition are two operations.
    macs = counter.get_total_flops() // 2
    return ModelCost(sum(p.numel() for p in parameters), macs, sum(tensor.nbytes for tensor in stored))
