"""A data set that a network learns in a moment, for the tests of everything that trains."""

import numpy as np
import torch

from wetakd.config import ModelConfig
from wetakd.data import Dataset, Splits
from wetakd.models import InputShape, build
from wetakd.transform import Transform

torch.set_num_threads(1)

SHAPE = InputShape(1, 8, 8)
NUM_CLASSES = 3
PLAIN_2 = ModelConfig(name="plain", options={"depth": 2})


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
    return build(PLAIN_2, SHAPE, NUM_CLASSES, seed)
