"""What learning from K teachers costs: epochs of the smallest plain CNN with targets, over epochs without.

Images are random 32x32 colour, batch 128, one thread; trainings take turns epoch by epoch in one process, so that a
second load on the machine hits all of them, and processor time is what counts. The first lines are the shares of an
epoch that pass in the network (forward, loss, backward and update, and the forward pass of evaluation): of epochs on
clean images, on views that are cut and mirrored, and on clean images with eight teachers. The teachers' lines are of
clean images, where a teacher weighs most.

    python benchmarks/teachers.py --rounds 6 --steps 100 --classes 10
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from wetakd.config import DistillationConfig, ModelConfig, RecipeConfig
from wetakd.data.dataset import Dataset, Splits
from wetakd.data.transform import Transform
from wetakd.data.views import Views
from wetakd.models.cost import InputShape
from wetakd.models.registry import build_model
from wetakd.training.epoch import Epoch
from wetakd.training.objective import Targets
from wetakd.training.trainer import Trainer

BATCH = 128
NUM_TEACHERS = (0, 1, 2, 4, 8)
CLEAN, VIEWS = Views(1, False, 0, 0), Views(num=2, flip=True, crop_padding=4, seed=0)


def random_dataset(num_fit: int, num_classes: int) -> Dataset:
    """Noise; only split fit is of any size, so that an epoch is all training."""
    rng = np.random.default_rng(0)
    ids = np.arange(num_fit + 3)
    return Dataset(
        images_NCHW=rng.integers(0, 256, (len(ids), 3, 32, 32), dtype=np.uint8),
        labels_N=rng.integers(0, num_classes, len(ids)),
        class_names=tuple(str(c) for c in range(num_classes)),
        splits=Splits(ids[:num_fit], ids[-3:-2], ids[-2:-1], ids[-1:]),
        transform=Transform(32, 32, 3, 255, (0.5,) * 3, (0.25,) * 3),
        fingerprint="noise",
    )


class NetworkClock:
    """Processor seconds in networks: in training from the forward pass to the end of the update, else forward alone."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0
        register_optimizer_step_post_hook(lambda *_: self._stop())

    def watch(self, model: torch.nn.Module) -> None:
        """Count `model` in, and with it the optimizer that steps next."""
        model.register_forward_pre_hook(lambda *_: self._start())
        model.register_forward_hook(lambda model, *_: None if model.training else self._stop())

    def _start(self) -> None:
        self._started = time.process_time()

    def _stop(self) -> None:
        self.seconds += time.process_time() - self._started


def training(
    dataset: Dataset, views: Views, recipe: RecipeConfig, logits_KVNC: np.ndarray, clock: NetworkClock
) -> Iterator[Epoch]:
    """Epochs of the smallest plain CNN, evenly taught by the networks of the logit cache."""
    num = len(logits_KVNC)
    model = build_model(
        ModelConfig(name="plain", options={"depth": 2}), InputShape(3, 32, 32), dataset.num_classes, seed=0
    )
    clock.watch(model)
    return Trainer(
        model,
        dataset,
        views,
        recipe,
        seed=0,
        precision="float32",
        distillation=DistillationConfig() if num else None,
        targets=Targets(tuple(logits_KVNC), (1 / num,) * num) if num else None,
    ).train()


def next_epoch(epochs: Iterator[Epoch], clock: NetworkClock) -> tuple[float, float]:
    """Processor seconds of the next epoch, and those of them that passed in the network."""
    started, in_network = time.process_time(), clock.seconds
    next(epochs)
    return time.process_time() - started, clock.seconds - in_network


def main() -> None:
    """Print the shares, then one line a K: the median, over rounds, of seconds over seconds without teachers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=100, help="steps an epoch")
    parser.add_argument("--classes", type=int, default=10)
    arguments = parser.parse_args()
    num_fit = arguments.steps * BATCH
    dataset = random_dataset(num_fit, arguments.classes)
    logits_KVNC = np.random.default_rng(1).normal(0, 3, (8, 1, num_fit, arguments.classes)).astype(np.float16)
    # One round more, to warm up; the views take two epochs a round, for every other one is of the clean images.
    recipe = RecipeConfig(epochs=2 * (arguments.rounds + 1), batch_size=BATCH)
    clock = NetworkClock()
    trainings = {k: training(dataset, CLEAN, recipe, logits_KVNC[:k], clock) for k in NUM_TEACHERS}
    with_views = training(dataset, VIEWS, recipe, logits_KVNC[:0], clock)
    taught: dict[int, list[tuple[float, float]]] = {k: [] for k in trainings}
    viewed: list[tuple[float, float]] = []
    for _ in range(arguments.rounds + 1):
        for k, epochs in trainings.items():
            taught[k].append(next_epoch(epochs, clock))
        next(with_views)
        viewed.append(next_epoch(with_views, clock))
    for what, rounds in (("clean images", taught[0]), ("flip and crop", viewed), ("8 teachers", taught[8])):
        shares = [in_network / whole for whole, in_network in rounds[1:]]
        step_ms = median(whole for whole, _ in rounds[1:]) / arguments.steps * 1e3
        print(
            f"in the network: {median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f}) of an epoch with {what}, "
            f"{step_ms:.2f} ms a step"
        )
    seconds = {k: [whole for whole, _ in rounds[1:]] for k, rounds in taught.items()}
    for k in NUM_TEACHERS[1:]:
        ratio = median(seconds[k]) / median(seconds[0])
        fastest = min(seconds[k]) / min(seconds[0])
        print(f"{k} teachers: {ratio:.3f} x plain training (fastest epochs: {fastest:.3f})")


if __name__ == "__main__":
    main()
