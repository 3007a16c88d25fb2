"""What learning from K teachers costs: epochs of the smallest plain CNN with targets, over epochs without.

Images are random 32x32 colour, batch 128, one thread; trainings take turns epoch by epoch in one process, so that a
second load on the machine hits all of them, and processor time is what counts. The first lines are the shares of an
epoch that the bare network (forward, cross-entropy, backward, update, on one resident batch) needs: of an epoch on the
clean images, and of one on views that are cut and mirrored (every other epoch is the clean view, so two epochs count).
The teachers' lines are of the clean images, where a teacher weighs most.

    python benchmarks/teachers.py --rounds 6 --steps 100 --classes 10
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import numpy as np
import torch
from torch.nn import functional

from wetakd.config import DistillationConfig, ModelConfig, RecipeConfig
from wetakd.data.dataset import Dataset, Splits
from wetakd.data.transform import Transform
from wetakd.data.views import Views
from wetakd.training.loop import Epoch, Targets, train
from wetakd.training.models import InputShape, build

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


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor time of `work`."""
    started = time.process_time()
    work()
    return time.process_time() - started


def train_bare(num_steps: int, num_classes: int) -> None:
    """So many updates on one batch that is ready."""
    model = build(ModelConfig(name="plain", options={"depth": 2}), InputShape(3, 32, 32), num_classes, seed=0)
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    inputs_BCHW = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels_B = torch.randint(num_classes, (BATCH,))
    for _ in range(num_steps):
        loss = functional.cross_entropy(model(inputs_BCHW), labels_B)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def training(dataset: Dataset, views: Views, recipe: RecipeConfig, bank_KVNC: np.ndarray) -> Iterator[Epoch]:
    """Epochs of the smallest plain CNN, evenly taught by the networks of the bank."""
    num = len(bank_KVNC)
    model = ModelConfig(name="plain", options={"depth": 2})
    return train(
        build(model, InputShape(3, 32, 32), dataset.num_classes, seed=0),
        dataset,
        views,
        recipe,
        seed=0,
        precision="float32",
        distillation=DistillationConfig() if num else None,
        targets=Targets(tuple(bank_KVNC), (1 / num,) * num) if num else None,
    )


def two(epochs: Iterator[Epoch]) -> None:
    next(epochs)
    next(epochs)


def main() -> None:
    """Print the shares, then one line a K: the median, over rounds, of seconds over seconds without teachers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=100, help="steps an epoch")
    parser.add_argument("--classes", type=int, default=10)
    arguments = parser.parse_args()
    num_fit = arguments.steps * BATCH
    dataset = random_dataset(num_fit, arguments.classes)
    bank = np.random.default_rng(1).normal(0, 3, (8, 1, num_fit, arguments.classes)).astype(np.float16)
    # Two epochs a round, which is each of two views once; one round more, to warm up.
    recipe = RecipeConfig(epochs=2 * (arguments.rounds + 1), batch_size=BATCH)
    trainings = {k: training(dataset, CLEAN, recipe, bank[:k]) for k in NUM_TEACHERS}
    with_views = training(dataset, VIEWS, recipe, bank[:0])
    seconds: dict[int, list[float]] = {k: [] for k in trainings}
    viewed: list[float] = []
    bare: list[float] = []
    for _ in range(arguments.rounds + 1):
        for k, epochs in trainings.items():
            seconds[k].append(processor_seconds(partial(two, epochs)))
        viewed.append(processor_seconds(partial(two, with_views)))
        bare.append(processor_seconds(lambda: train_bare(2 * arguments.steps, arguments.classes)))
    for what, whole in (("clean images", seconds[0]), ("flip and crop", viewed)):
        shares = [alone / epoch for alone, epoch in zip(bare[1:], whole[1:], strict=True)]
        step_ms = median(whole[1:]) / (2 * arguments.steps) * 1e3
        print(
            f"bare network: {median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f}) of an epoch on {what}, "
            f"{step_ms:.2f} ms a step"
        )
    for k in NUM_TEACHERS[1:]:
        ratio = median(seconds[k][1:]) / median(seconds[0][1:])
        fastest = min(seconds[k][1:]) / min(seconds[0][1:])
        print(f"{k} teachers: {ratio:.3f} x plain training (fastest epochs: {fastest:.3f})")


if __name__ == "__main__":
    main()
