"""One trial step of training, to find networks that cannot be trained before anything else runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wetakd.common.errors import UserError, describe_error
from wetakd.models.cost import InputShape


def check_training(module: nn.Module, name: str, shape: InputShape, num_classes: int, *, field: str) -> None:
    """Train `module` for one step's worth of gradients, on two noisy images; it is of no use afterwards.

    Raises:
        UserError: it cannot do in training, or with several images, what it does with one.
    """
    device = next(module.parameters()).device
    try:
        with torch.random.fork_rng(devices=[]):
            logits = module.train()(torch.rand(2, shape.channels, shape.height, shape.width, device=device))
    except (Exception, SystemExit) as error:
        raise UserError(f"{field}: {name} cannot be trained on two images at once: {describe_error(error)}") from error
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes) or not logits.requires_grad:
        got = f"{list(logits.shape)}, {logits.dtype}" if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"{field}: {name} in training returns {got} for two images; it must be logits of [2, {num_classes}] with a "
            "gradient"
        )
    try:
        torch.autograd.backward(nn.functional.cross_entropy(logits, torch.arange(2, device=device) % num_classes))
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{field}: {name} cannot be trained, its backward pass raised {describe_error(error)}"
        ) from error
