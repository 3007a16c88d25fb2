"""What every reader gives: labelled images that are not decoded yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

# An image before decoding: the bytes of a file, a file, or uint8 pixels HW or HWC.
StoredImage = bytes | Path | np.ndarray


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Labelled images of a train or a test set."""

    field: str  # in the study file, for messages
    labels_N: np.ndarray  # int64
    images: Callable[[], Iterator[StoredImage | None]]  # in the order of the labels; None: there is none
    where: Callable[[int], str]  # says which image is meant, for messages
    notes: tuple[str, ...] = ()  # lines that the user should see

    def first(self, num: int | None) -> LabelledImages:
        """The first `num` images; None: all."""
        return replace(self, labels_N=self.labels_N[:num])


@dataclass(frozen=True)
class ImageSource:
    """What a reader found. `test` is None where the source has no test set."""

    train: LabelledImages
    test: LabelledImages | None
    class_names: tuple[str, ...] | None

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines that the user should see."""
        return self.train.notes + (self.test.notes if self.test else ())


def images_in_memory(field: str, images: np.ndarray, labels: np.ndarray) -> LabelledImages:
    """The images of an array."""
    return LabelledImages(field, labels.astype(np.int64), lambda: iter(images), lambda i: f"image {i}")
