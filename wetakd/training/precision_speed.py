"""How much faster a device trains in bfloat16 than in float32: measured, because instructions alone do not tell.

Some CPUs have bfloat16 instructions and still run bfloat16 convolutions several times slower than float32.
"""

from __future__ import annotations

import itertools
import time
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional

from wetakd.training.threads import pinned_threads

MIN_SPEEDUP = 1.2
"""`precision: auto` means bfloat16 where it is at least this many times as fast as float32."""

_BATCH = 64
_SIZE = 32
_CHANNELS = 32
_NUM_WARM_UPS = 2
_NUM_STEPS = 5


def bfloat16_speedup(device: str, *, num_threads: int = 1) -> float:
    """Time of a training step in float32, divided by the time of the same step in bfloat16.

    The network has four convolutions of 32 channels with batch normalisation and reads batches of 64 RGB images of 32
    pixels. The steps of both types alternate, and the medians of five steps are compared. Takes less than a second on
    most devices.

    Args:
        device: a torch device that this process can use.
        num_threads: CPU threads of torch during the measurement.
    """
    generator = torch.Generator().manual_seed(0)
    images_BCHW = torch.rand(_BATCH, 3, _SIZE, _SIZE, generator=generator).to(device)
    labels_B = torch.randint(10, (_BATCH,), generator=generator).to(device)
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    with pinned_threads(num_threads), torch.random.fork_rng(devices=[]):
        model = _small_network().to(device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(_NUM_WARM_UPS + _NUM_STEPS):
            for dtype, times in seconds.items():
                times.append(_step_seconds(model, optimizer, images_BCHW, labels_B, dtype))
    float32, bfloat16 = (median(times[_NUM_WARM_UPS:]) for times in seconds.values())
    return float32 / bfloat16


def _small_network() -> nn.Module:
    widths = [3, *([_CHANNELS] * 4)]
    layers: list[nn.Module] = []
    for num_inputs, num_outputs in itertools.pairwise(widths):
        layers += [nn.Conv2d(num_inputs, num_outputs, 3, padding=1), nn.BatchNorm2d(num_outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_CHANNELS, 10))


def _step_seconds(
    model: nn.Module, optimizer: torch.optim.Optimizer, images_BCHW: Tensor, labels_B: Tensor, dtype: torch.dtype
) -> float:
    device_type = images_BCHW.device.type
    started = time.perf_counter()
    with torch.autocast(device_type, dtype=dtype, enabled=dtype is not torch.float32):
        loss = functional.cross_entropy(model(images_BCHW).float(), labels_B)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    if device_type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
