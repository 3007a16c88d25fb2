"""What a network says about images: one fixed batch shape, so that logits do not depend on what else is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from wetakd.data.dataset import Dataset
from wetakd.data.transform import Transform
from wetakd.data.views import Views, as_tensor
from wetakd.models.evaluation_mode import evaluating
from wetakd.training.threads import pinned_threads

_INFERENCE_BATCH = 256
_CLEAN = Views(num=1, flip=False, crop_padding=0, seed=0)
# Images of each data set by device. A process that uses several networks or views must not copy them each time.
_RESIDENT: WeakKeyDictionary[Dataset, dict[torch.device, Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Pixels:
    """A data set resident on one device: uint8 images, cut and normalised by batched indexing."""

    images_NCHW: Tensor
    transform: Transform
    views: Views

    @classmethod
    def of(cls, dataset: Dataset, views: Views | None, device: torch.device) -> Pixels:
        """All images of `dataset` on `device`, copied there once for as long as `dataset` exists.

        On the CPU they are its own memory, so never write to them.
        """
        by_device = _RESIDENT.setdefault(dataset, {})
        if device not in by_device:
            by_device[device] = as_tensor(dataset.images_NCHW).to(device)
        return cls(by_device[device], dataset.transform, _CLEAN if views is None else views)

    def inputs(self, sample_ids_B: Tensor, view: int, *, channels_last: bool = True) -> Tensor:
        """What a network reads, float32 BCHW."""
        inputs_BCHW = self.transform.normalise(self.views.apply(self.images_NCHW, sample_ids_B, view))
        if not channels_last:
            return inputs_BCHW
        # Not contiguous(): for one channel it calls either layout right, and convolutions would look at the weights'.
        return torch.empty_like(inputs_BCHW, memory_format=torch.channels_last).copy_(inputs_BCHW)


def predict(
    model: nn.Module,
    dataset: Dataset,
    sample_ids: np.ndarray,
    *,
    views: Views | None = None,
    view: int = 0,
    device: str = "cpu",
    num_threads: int = 1,
    on_step: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Logits (float32, N x C) of view `view` of the samples `sample_ids` (int64, N), in their order.

    In evaluation and inference mode and in float32, on `device`, where the model stays. Every layer gets back the
    mode that it had; running statistics do not change. `on_step` is called after each batch. torch computes with
    `num_threads` CPU threads, on which rounding depends, and then with as many as before.
    """
    ids_N = torch.from_numpy(np.array(sample_ids, dtype=np.int64))
    pixels = Pixels.of(dataset, views, torch.device(device))
    with pinned_threads(num_threads):
        return logits(model.to(device), pixels, ids_N.to(device), view, dataset.num_classes, on_step).cpu().numpy()


def logits(
    model: nn.Module,
    pixels: Pixels,
    sample_ids_N: Tensor,
    view: int,
    num_classes: int,
    on_step: Callable[[], None] = lambda: None,
) -> Tensor:
    """As `predict`, for pixels that are resident already; all tensors are on their device."""
    num = len(sample_ids_N)
    logits_NC = torch.empty((num, num_classes), device=sample_ids_N.device)
    # The last batch repeats its last sample. Channels-last input makes the result independent of the layout that
    # the weights happen to have in memory.
    with evaluating(model), torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for start in range(0, num, _INFERENCE_BATCH):
            places_B = torch.arange(start, start + _INFERENCE_BATCH, device=sample_ids_N.device).clamp(max=num - 1)
            batch_BC = model(pixels.inputs(sample_ids_N[places_B], view))
            logits_NC[start : start + _INFERENCE_BATCH] = batch_BC[: num - start]
            on_step()
    return logits_NC
