"""What a network learns from: the labels alone, or the labels and the mixed logits of its teachers.

Shapes: V views, N samples of split fit, K teachers, S steps, B batch, C classes. A position counts samples within the
split fit; it addresses a teacher's logits whatever the order of training is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wetakd.config import DistillationConfig
from wetakd.data.views import as_tensor
from wetakd.training.losses import distillation_loss, mix

# Numbers that are mixed at a time: bounds the memory of mixing (16 MiB of float32), whatever K, N and C are.
_MIXED_AT_ONCE = 2**22


@dataclass(frozen=True, eq=False)
class Targets:
    """What the logit cache gives a pupil.

    `logits`: K arrays (V, N, C), float16, rows in the order of `dataset.splits.fit`; only read.
    `weights_K`: on the simplex.
    """

    logits: tuple[np.ndarray, ...]
    weights_K: tuple[float, ...]
    mixture: Literal["probabilities", "logits"] = "probabilities"

    def __post_init__(self) -> None:
        if len(self.logits) != len(self.weights_K) or not self.logits:
            raise ValueError(f"{len(self.logits)} teachers have {len(self.weights_K)} weights")
        if not (min(self.weights_K) >= 0 and abs(sum(self.weights_K) - 1) <= 1e-6):
            raise ValueError(f"weights {self.weights_K} are not on the simplex")


@dataclass(frozen=True)
class TrainingObjective:
    """Cross-entropy of the labels; with teachers, `label_weight` x that + `alpha` x distillation."""

    label_smoothing: float
    distillation: DistillationConfig | None
    targets: Targets | None

    def targets_of(self, view: int, positions_SB: Tensor, device: torch.device) -> Iterator[Tensor | None]:
        """The target logits BC (float32, on `device`) of each step, None without teachers.

        Mixed for many steps at once: a call a step would cost more than it saves, the whole epoch too much memory.
        """
        if self.distillation is None or self.targets is None:
            yield from itertools.repeat(None, len(positions_SB))
            return
        temperature, targets = self.distillation.temperature, self.targets
        num_classes = targets.logits[0].shape[-1]
        num_steps = max(1, _MIXED_AT_ONCE // (len(targets.logits) * positions_SB.shape[1] * num_classes))
        for block_SB in torch.split(positions_SB, num_steps):
            rows = [as_tensor(logits_VNC[view]).index_select(0, block_SB.flatten()) for logits_VNC in targets.logits]
            logits_KRC = [rows_RC.to(device).to(torch.float32) for rows_RC in rows]
            mixed_RC = mix(logits_KRC, targets.weights_K, temperature, targets.mixture)
            yield from mixed_RC.view(*block_SB.shape, num_classes)

    def loss(self, student_BC: Tensor, labels_B: Tensor, target_BC: Tensor | None) -> Tensor:
        """Scalar, mean over the batch; `student_BC` in float32."""
        label_loss = functional.cross_entropy(student_BC, labels_B, label_smoothing=self.label_smoothing)
        if self.distillation is None or target_BC is None:
            return label_loss
        distilled = distillation_loss(student_BC, target_BC, labels_B, self.distillation)
        return self.distillation.label_weight * label_loss + self.distillation.alpha * distilled
