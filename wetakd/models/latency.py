"""How long one image takes."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn

from wetakd.models.cost import InputShape
from wetakd.models.evaluation_mode import evaluating

_WARM_UP, _MOST_RUNS, _MOST_S = 5, 200, 2.0


def latency_ms(model: nn.Module, shape: InputShape) -> float:
    """Median milliseconds of a forward pass of one image on one thread of this CPU, in float32 and inference mode.

    After a few runs to warm up, 200 runs or two seconds of them, whichever is less. What else the machine does is in
    it. The number of torch's threads is afterwards as it was.
    """
    image_1CHW = torch.rand(1, shape.channels, shape.height, shape.width, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with evaluating(model), torch.inference_mode():
            runs = _timed(model, image_1CHW)
    finally:
        torch.set_num_threads(threads)
    return float(1e3 * np.median(runs))


def _timed(model: nn.Module, image_1CHW: torch.Tensor) -> list[float]:
    for _ in range(_WARM_UP):
        model(image_1CHW)
    runs: list[float] = []
    while len(runs) < _MOST_RUNS and sum(runs) < _MOST_S:
        started = time.perf_counter()
        model(image_1CHW)
        runs.append(time.perf_counter() - started)
    return runs
