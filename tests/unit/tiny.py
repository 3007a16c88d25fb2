"""A data set that a network learns in a moment, and training on it, for the tests of everything that trains."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from wetakd.config import DistillationConfig, ModelConfig, RecipeConfig
from wetakd.data.dataset import Dataset, Splits
from wetakd.data.transform import Transform
from wetakd.data.views import Views
from wetakd.models.cost import InputShape
from wetakd.models.registry import build_model
from wetakd.training.trainer import Trainer

torch.set_num_threads(1)

SHAPE = InputShape(1, 8, 8)
NUM_CLASSES = 3
PLAIN_2 = ModelConfig(name="plain", options={"depth": 2})
CLEAN = Views(num=1, flip=False, crop_padding=0, seed=0)
RECIPE = RecipeConfig(epochs=3, batch_size=8, lr=0.05)
KD = DistillationConfig(alpha=0.5)


def dataset(num_fit: int = 40, seed: int = 0) -> Dataset:
    """Grey 8x8 images whose class is the band that is bright; sample ids are spread at random over the splits."""
    sizes = np.array([num_fit, 9, 12, 15])
    rng = np.random.default_rng(seed)
    labels_N = rng.integers(0, NUM_CLASSES, sizes.sum())
    images_NCHW = rng.integers(0, 120, (len(labels_N), 1, 8, 8), dtype=np.uint8)
    for image_CHW, label in zip(images_NCHW, labels_N, strict=True):
        image_CHW[:, 3 * label : 3 * label + 2] += 100
    parts = np.split(rng.permutation(len(labels_N)), np.cumsum(sizes)[:-1])
    images_NCHW.flags.writeable = labels_N.flags.writeable = False
    return Dataset(
        images_NCHW=images_NCHW,
        labels_N=labels_N,
        class_names=("top", "middle", "bottom"),
        splits=Splits(*(np.sort(part) for part in parts)),
        transform=Transform(height=8, width=8, channels=1, background=255, mean=(0.3,), std=(0.2,)),
        fingerprint="tiny",
    )


def network(seed: int = 0) -> torch.nn.Module:
    """The smallest plain CNN for that data set."""
    return build_model(PLAIN_2, SHAPE, NUM_CLASSES, seed)


class Memory:
    """Checkpoints in memory; counts what is saved."""

    def __init__(self):
        self.states = []

    def load(self):
        return self.states[-1] if self.states else None

    def save(self, state):
        self.states.append(state)


def run(model=None, data=None, views=CLEAN, recipe=RECIPE, **options):
    """Train to the end; returns the network and its epochs."""
    model = network() if model is None else model
    options = {"seed": 0, "precision": "float32", **options}
    return model, list(Trainer(model, data or dataset(), views, recipe, **options).train())


def timeless(epochs):
    return [replace(epoch, seconds=0.0) for epoch in epochs]


def made_logits(data, num_views=1, seed=0):
    logits = np.random.default_rng(seed).normal(0, 2, (num_views, len(data.splits.fit), NUM_CLASSES))
    return logits.astype(np.float16)


def dropping(num_classes, in_channels):
    """A network with batch norm and dropout: state and randomness beside the weights."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.LazyLinear(num_classes),
    )


def with_dropout():
    return build_model(ModelConfig(name=f"{__name__}:dropping"), SHAPE, NUM_CLASSES, seed=0)


@contextmanager
def counted_copies():
    """A list with one entry for each time that all images of a data set are moved to a device."""
    copies, move = [], Tensor.to

    def counting(tensor, *args, **options):
        if tensor.dtype == torch.uint8 and isinstance(args[0], torch.device):
            copies.append(args[0])
        return move(tensor, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "to", counting)
        yield copies


@contextmanager
def every_step():
    """The learning rate of every optimizer step, as the optimizer meets it."""
    rates = []
    handle = register_optimizer_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    yield rates
    handle.remove()
