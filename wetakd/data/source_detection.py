"""What lies at a path or URI: which image source reads it, and what its images are like."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from wetakd.common.errors import UserError, one_line
from wetakd.config import DataConfig
from wetakd.data.image_decoding import open_image
from wetakd.data.sources import ImageSource, LabelledImages, StoredImage, find_columns, open_source

NAMED = ("digits", "cifar10", "cifar100")
_TEST_NAMES = ("test", "val", "valid", "validation")
_NUM_LOOKED_AT = 64
# Beyond this, networks for small images are slow; whoever needs more says so.
_LARGEST = 64


@dataclass(frozen=True)
class ImageSummary:
    """The images of a source: how many, their size and colours, and the `data` block that reads them."""

    data: Mapping[str, Any]
    """The block of the study file."""
    num_images: int
    num_classes: int
    has_test: bool
    side: int
    """Pixels of the shorter side, of the smallest image."""
    size: int | None
    """What `transform.size` should be; None where all images agree and are small."""
    channels: str
    """`keep`, or `rgb` where grey and colour are mixed."""
    is_grey: bool
    notes: tuple[str, ...] = ()
    """Lines that the user should see."""

    def __str__(self) -> str:
        kind = "grey" if self.is_grey else "colour"
        return f"{self.num_images:,} {kind} images of {self.num_classes} classes, {self.side} pixels a side at least"


def summarise_images(place: str, test: str | None = None) -> ImageSummary:
    """Find out what lies at `place`: digits, cifar10, cifar100, Parquet, an image folder, or `module:function`.

    Raises:
        UserError: nothing that is one of these, or images that cannot be read.
    """
    data = detect_source(place, test)
    source = open_source(TypeAdapter(DataConfig).validate_python(data))
    first = enumerate(islice(source.train.images(), _NUM_LOOKED_AT))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        shapes = [_shape(source.train, i, stored) for i, stored in first if stored is not None]
    if not shapes:
        raise UserError(f"{place}: holds no images")
    sides = sorted(min(height, width) for height, width, _ in shapes)
    agree = len({shape[:2] for shape in shapes}) == 1
    grey = Counter(is_grey for _, _, is_grey in shapes)
    size = None if agree and sides[0] <= _LARGEST else max(8, min(_LARGEST, sides[len(sides) // 2]))
    return ImageSummary(
        data=data,
        num_images=len(source.train.labels_N) + (len(source.test.labels_N) if source.test else 0),
        num_classes=_num_classes(source),
        has_test=source.test is not None,
        side=sides[0],
        size=size,
        channels="keep" if len(grey) == 1 else "rgb",
        is_grey=len(grey) == 1 and grey[True] > 0,
        notes=source.notes,
    )


def _num_classes(source: ImageSource) -> int:
    return len(source.class_names) if source.class_names else int(source.train.labels_N.max(initial=0)) + 1


def _shape(part: LabelledImages, i: int, stored: StoredImage) -> tuple[int, int, bool]:
    """Height, width, and whether it is grey."""
    if isinstance(stored, np.ndarray):
        return stored.shape[0], stored.shape[1], stored.ndim == 2 or stored.shape[2] == 1
    try:
        with open_image(stored) as image:
            return image.height, image.width, image.mode in ("1", "L", "LA", "I", "I;16")
    except (OSError, ValueError) as error:
        raise UserError(f"{part.field}: {part.where(i)} cannot be read: {one_line(error)}") from error


def detect_source(place: str, test: str | None = None) -> dict[str, Any]:
    """The `data` block for what lies at `place`, and for a test set at `test`."""
    path = Path(place).expanduser()
    if place in NAMED and not path.exists():
        if test is not None:
            raise UserError(f"--test: {place} has a test set of its own, or is split; leave it out")
        return {"source": place} if place == "digits" else {"source": place, "download": True}
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", place) and not path.exists():
        return {"source": "callable", "callable": place}
    if "://" in place or path.suffix == ".parquet":
        return _parquet_source(place, test)
    if not path.is_dir():
        raise UserError(
            f"{place!r}: is no folder, no Parquet file, no module:function and none of {', '.join(NAMED)}; name where "
            "the images are"
        )
    return _folder_source(place, path, test)


def _folder_source(place: str, path: Path, test: str | None) -> dict[str, Any]:
    parquet = sorted(file.name for file in path.glob("*.parquet"))
    if parquet:
        found = {name: f"{place}/{name}*.parquet" for name in ("train", *_TEST_NAMES) if _begins(parquet, name)}
        held_out = next((found[name] for name in _TEST_NAMES if name in found), None)
        return _parquet_source(
            found.get("train", f"{place}/*.parquet"), test or (held_out if "train" in found else None)
        )
    below = sorted(child.name for child in path.iterdir() if child.is_dir() and child.name[0] != ".")
    if "train" in below and _holds_images_by_class(path / "train"):
        held_out = next((f"{place}/{name}" for name in _TEST_NAMES if name in below), None)
        return _folder_source(f"{place}/train", path / "train", test or held_out)
    if not below:
        raise UserError(f"{place!r}: holds neither Parquet files nor a sub-folder for each class")
    return {"source": "folder", "train": place} | ({"test": test} if test else {})


def _holds_images_by_class(path: Path) -> bool:
    """Whether it is a split; else `train` is a class, of vehicles say."""
    return any(child.is_dir() or child.suffix == ".parquet" for child in path.iterdir() if child.name[0] != ".")


def _begins(names: list[str], word: str) -> bool:
    return any(name.startswith(word) for name in names)


def _parquet_source(train: str, test: str | None) -> dict[str, Any]:
    image, label = find_columns(train)
    block = {"source": "parquet", "train": train} | ({"test": test} if test else {})
    return block | {"image_column": image, "label_column": label}
