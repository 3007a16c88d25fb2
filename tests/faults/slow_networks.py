"""Networks for studies that are hurt: slow enough to be hit, small enough to finish."""

from __future__ import annotations

import time
from functools import cache

import psutil
import torch
from torch import Tensor, nn


@cache
def is_worker() -> bool:
    """Whether this process works for Ray, rather than driving it."""
    return any(word.startswith("ray::") for word in psutil.Process().cmdline())


class Slow(nn.Module):
    """A linear classifier that takes `pause_s` a batch in a worker of Ray."""

    def __init__(self, num_classes: int, in_channels: int, pause_s: float) -> None:
        super().__init__()
        self.linear, self.pause_s = nn.Linear(in_channels * 64, num_classes), pause_s

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits BC."""
        if is_worker():
            time.sleep(self.pause_s)
        logits_BC: Tensor = self.linear(images_BCHW.flatten(1))
        return logits_BC


class Hungry(Slow):
    """Asks for more memory than any machine has, where a worker of Ray trains it."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits BC, where there is memory."""
        if self.training and is_worker():
            torch.empty(10**15)
        return super().forward(images_BCHW)


def slow(num_classes: int, in_channels: int, pause_s: float = 0.02) -> nn.Module:
    """See `Slow`."""
    return Slow(num_classes, in_channels, pause_s)


def hungry(num_classes: int, in_channels: int) -> nn.Module:
    """See `Hungry`."""
    return Hungry(num_classes, in_channels, 0.02)
