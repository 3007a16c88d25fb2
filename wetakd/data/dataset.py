"""The data set: every image decoded once into one uint8 array, with its labels and splits.

A sample id is a row of that array: first the training images in the order of the source, then its test images where
it has any.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import chain, islice

import numpy as np
from PIL import Image, UnidentifiedImageError

from wetakd.common.errors import UserError, one_line
from wetakd.common.machine_memory import free_memory
from wetakd.config import DataConfig, SplitsConfig, TransformConfig
from wetakd.data.image_decoding import decode_image
from wetakd.data.sources import ImageSource, LabelledImages, StoredImage, open_source
from wetakd.data.splits import SplitLabels, Splits, draw_splits
from wetakd.data.transform import Transform, resolve_transform, upright, with_statistics

__all__ = ["Dataset", "Splits", "load_dataset"]

# Images read ahead of the decoding threads, and images that a thread takes at a time.
_READ_AHEAD = 1024
_HANDFUL = 32
# A stored image with its part and its place there.
_Item = tuple[LabelledImages, int, StoredImage | None]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything that networks see. Put once into the object store; its arrays are read-only there."""

    images_NCHW: np.ndarray  # uint8, C-contiguous
    labels_N: np.ndarray  # int64, 0..C-1
    class_names: tuple[str, ...]
    splits: Splits
    transform: Transform
    fingerprint: str  # sha256 over pixels, labels, splits and transform

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    @property
    def split_labels(self) -> SplitLabels:
        """The labels and splits, for tasks that read no images."""
        return SplitLabels(self.labels_N, self.splits)


def load_dataset(
    data: DataConfig,
    splits: SplitsConfig,
    transform: TransformConfig,
    *,
    memory_share: float,
    on_progress: Callable[[int, int], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Dataset:
    """Read, check, split and decode the images of a study.

    Labels, splits and memory are checked before the first image is decoded.

    Args:
        data: the source.
        splits: shares of the splits, and the seed that draws them.
        transform: size, channels and normalisation.
        memory_share: share of the free memory of this machine that the decoded images may take.
        on_progress: called with (images decoded, images in all) now and then, from the calling thread.
        on_note: called with each line that the user should see, such as links to folders that are not followed.

    Raises:
        UserError: naming field, file and row, where the source, a label, an image, a split or memory does not do.
    """
    source = open_source(data)
    if on_note:
        for note in source.notes:
            on_note(note)
    class_names = _check_classes(source)
    parts = _first_ones(data, source)
    labels_N = np.concatenate([part.labels_N for part in parts])
    drawn = draw_splits(labels_N, len(parts[0].labels_N), len(parts) == 2, splits, class_names)

    items = chain.from_iterable(map(_items, parts))
    with warnings.catch_warnings():
        # What cannot be read is said below; of the rest Pillow says nothing that a user could act on.
        warnings.filterwarnings("ignore", module="PIL")
        first = next(items)
        resolved = resolve_transform(transform, _open(*first))
        _check_memory(len(labels_N), resolved, memory_share)
        images_NCHW = _decode(chain([first], items), len(labels_N), resolved, transform.size is None, on_progress)
    resolved = with_statistics(resolved, transform, images_NCHW, drawn.fit)
    fingerprint = _fingerprint(images_NCHW, labels_N, drawn, resolved)
    return Dataset(images_NCHW, labels_N, class_names, drawn, resolved, fingerprint)


# -------------------------------------------------------------------------------------------------------- labels


def _check_classes(source: ImageSource) -> tuple[str, ...]:
    """Names of the classes; raises UserError unless the labels are 0..C-1 and every class is in train."""
    labels = np.unique(source.train.labels_N)
    if not len(labels):
        raise UserError(f"{source.train.field}: has no images")
    names = source.class_names
    num_classes = int(labels[-1]) + 1 if names is None else len(names)
    for part in (source.train, source.test):
        if part is not None and len(part.labels_N):
            _check_range(part, num_classes, named=names is not None)
    if len(labels) < num_classes:
        missing = np.setdiff1d(np.arange(len(labels) + 1), labels)[0]
        name = "" if names is None else f" ({names[missing]})"
        raise UserError(f"{source.train.field}: class {missing}{name} has no image; labels must be 0..C-1 without gaps")
    if num_classes < 2:
        raise UserError(f"{source.train.field}: all images have the same class; at least two classes are needed")
    return names or tuple(map(str, range(num_classes)))


def _check_range(part: LabelledImages, num_classes: int, named: bool) -> None:
    for i in (int(np.argmin(part.labels_N)), int(np.argmax(part.labels_N))):
        if not 0 <= part.labels_N[i] < num_classes:
            why = f"{num_classes} classes are named" if named else f"train has classes 0..{num_classes - 1}"
            raise UserError(f"{part.field}: {part.where(i)} has label {part.labels_N[i]}, but {why}")


def _first_ones(data: DataConfig, source: ImageSource) -> list[LabelledImages]:
    """The train set and the test set where there is one, cut to the first so many images."""
    max_test_images = getattr(data, "max_test_images", None)
    if source.test is None and max_test_images is not None:
        raise UserError(f"data.max_test_images: {max_test_images} has no meaning, for the source has no test set")
    train = source.train.first(getattr(data, "max_train_images", None))
    return [train] if source.test is None else [train, source.test.first(max_test_images)]


# ------------------------------------------------------------------------------------------------------ decoding


def _items(part: LabelledImages) -> Iterator[_Item]:
    # The labels may have been cut to the first so many, so they end first.
    return ((part, i, stored) for i, stored in zip(range(len(part.labels_N)), part.images(), strict=False))


def _decode(
    items: Iterator[_Item],
    num: int,
    transform: Transform,
    must_agree: bool,
    on_progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    """uint8 NCHW of `num` images, decoded by threads (Pillow's decoders let go of the interpreter lock)."""
    images_NCHW = np.empty((num, transform.channels, transform.height, transform.width), dtype=np.uint8)
    done = 0

    def decode(place: int, handful: list[_Item]) -> None:
        for i, item in enumerate(handful, start=place):
            images_NCHW[i] = _pixels(item, transform, must_agree)

    with ThreadPoolExecutor(max_workers=min(32, os.cpu_count() or 1)) as pool:
        while block := list(islice(items, _READ_AHEAD)):
            starts = range(0, len(block), _HANDFUL)
            handfuls = [block[start : start + _HANDFUL] for start in starts]
            # In order, so that it is always the first bad image that is named.
            for _ in pool.map(decode, (done + start for start in starts), handfuls):
                pass
            done += len(block)
            if on_progress:
                on_progress(done, num)
    assert done == num, "a reader gave fewer images than labels"
    return images_NCHW


def _pixels(item: _Item, transform: Transform, must_agree: bool) -> np.ndarray:
    part, i, stored = item
    image = _open(part, i, stored)
    size = (transform.width, transform.height)
    if must_agree and image.size != size:
        raise UserError(
            f"transform.size: required, for {part.where(i)} of {part.field} is {image.height}x{image.width} and the "
            f"first image {size[1]}x{size[0]} (height x width)"
        )
    try:
        return transform.prepare(image)
    except UserError as error:
        raise UserError(f"{part.field}: {part.where(i)} {error}") from None


def _open(part: LabelledImages, i: int, stored: StoredImage | None) -> Image.Image:
    """The decoded image, upright; raises UserError that says which one is damaged."""
    if stored is None:
        raise UserError(f"{part.field}: {part.where(i)} has no image bytes")
    try:
        if isinstance(stored, np.ndarray):
            return Image.fromarray(stored)
        return upright(decode_image(stored))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else one_line(error)
        raise UserError(f"{part.field}: {part.where(i)} cannot be decoded as an image: {reason}") from error


def _check_memory(num: int, transform: Transform, share: float) -> None:
    needed = num * transform.channels * transform.height * transform.width
    free = free_memory()
    if needed > share * free:
        raise UserError(
            f"limits.memory_share: {share:g} of the {free / 1e9:.1f} GB free is {share * free / 1e9:.1f} GB, but {num} "
            f"images of {transform.channels}x{transform.height}x{transform.width} take {needed / 1e9:.1f} GB; lower "
            "transform.size or data.max_train_images"
        )


def _fingerprint(images_NCHW: np.ndarray, labels_N: np.ndarray, splits: Splits, transform: Transform) -> str:
    digest = hashlib.sha256()
    split_arrays = [getattr(splits, field.name) for field in fields(Splits)]
    for array in (images_NCHW, labels_N, *split_arrays):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps(transform.to_dict(), sort_keys=True).encode())
    return digest.hexdigest()
