"""The data set: every image decoded once into one uint8 array, and four disjoint splits of it by sample id.

`fit` trains networks, `weigh` fits the ensemble weights, `choose` chooses, `test` judges, once. A sample id is a row
of `images_NCHW`: first the training images in the order of the source, then its test images where it has any.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from io import BytesIO
from itertools import chain, islice

import numpy as np
import psutil
from PIL import Image, UnidentifiedImageError

from wetakd.config import DataConfig, SplitsConfig, TransformConfig
from wetakd.errors import UserError
from wetakd.sources import Part, Source, Stored, open_source
from wetakd.transform import Transform, resolve, upright, with_statistics

# Images read ahead of the decoding threads, and images that a thread takes at a time.
_BLOCK = 1024
_HANDFUL = 32


@dataclass(frozen=True)
class Splits:
    """Sample ids of each split: int64, sorted, disjoint."""

    fit: np.ndarray
    weigh: np.ndarray
    choose: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
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


def load(
    data: DataConfig,
    splits: SplitsConfig,
    transform: TransformConfig,
    *,
    memory_share: float,
    on_progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read, check, split and decode the images of a study.

    Labels, splits and memory are checked before the first image is decoded.

    Args:
        data: the source.
        splits: shares of the splits, and the seed that draws them.
        transform: size, channels and normalisation.
        memory_share: share of the free memory of this machine that the decoded images may take.
        on_progress: called with (images decoded, images in all) now and then, from the calling thread.

    Raises:
        UserError: naming field, file and row, where the source, a label, an image, a split or memory does not do.
    """
    source = open_source(data)
    class_names = _check_classes(source)
    parts = _first_ones(data, source)
    labels_N = np.concatenate([part.labels_N for part in parts])
    drawn = draw_splits(labels_N, len(parts[0].labels_N), len(parts) == 2, splits, class_names)

    streams = [part.images() for part in parts]
    first = next(streams[0])
    resolved = resolve(transform, _open(parts[0], 0, first))
    streams[0] = chain([first], streams[0])
    _check_memory(len(labels_N), resolved, memory_share)

    images_NCHW = np.empty((len(labels_N), resolved.channels, resolved.height, resolved.width), dtype=np.uint8)
    decoder = _Decoder(resolved, must_agree=transform.size is None)
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for part, stream in zip(parts, streams, strict=True):
            target = images_NCHW[done : done + len(part.labels_N)]
            for num in decoder.run(pool, part, stream, target):
                done += num
                if on_progress:
                    on_progress(done, len(labels_N))
    resolved = with_statistics(resolved, transform, images_NCHW, drawn.fit)
    fingerprint = _fingerprint(images_NCHW, labels_N, drawn, resolved)
    return Dataset(images_NCHW, labels_N, class_names, drawn, resolved, fingerprint)


# -------------------------------------------------------------------------------------------------------- labels


def _check_classes(source: Source) -> tuple[str, ...]:
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
        missing = int(np.argmax(labels != np.arange(len(labels)))) if labels[-1] >= len(labels) else len(labels)
        name = "" if names is None else f" ({names[missing]})"
        raise UserError(f"{source.train.field}: class {missing}{name} has no image; labels must be 0..C-1 without gaps")
    if num_classes < 2:
        raise UserError(f"{source.train.field}: all images have the same class; at least two classes are needed")
    return names or tuple(map(str, range(num_classes)))


def _check_range(part: Part, num_classes: int, named: bool) -> None:
    for i in (int(np.argmin(part.labels_N)), int(np.argmax(part.labels_N))):
        if not 0 <= part.labels_N[i] < num_classes:
            why = f"{num_classes} classes are named" if named else f"train has classes 0..{num_classes - 1}"
            raise UserError(f"{part.field}: {part.where(i)} has label {part.labels_N[i]}, but {why}")


def _first_ones(data: DataConfig, source: Source) -> list[Part]:
    """The train set and the test set where there is one, cut to the first so many images."""
    max_test_images = getattr(data, "max_test_images", None)
    if source.test is None and max_test_images is not None:
        raise UserError(f"data.max_test_images: {max_test_images} has no meaning, for the source has no test set")
    train = source.train.first(getattr(data, "max_train_images", None))
    return [train] if source.test is None else [train, source.test.first(max_test_images)]


# -------------------------------------------------------------------------------------------------------- splits


def draw_splits(
    labels_N: np.ndarray, num_train: int, has_test: bool, config: SplitsConfig, class_names: Sequence[str]
) -> Splits:
    """Stratified splits: each takes its share of every class, rounded.

    Args:
        labels_N: int64, the training images' first, then the source's test images'.
        num_train: how many of them are training images.
        has_test: whether the rest is the source's own test set.
        config: shares and seed.
        class_names: C names, for messages.

    Raises:
        UserError: a class would be without an image in some split, or `config.test` does not suit the source.
    """
    if has_test and config.test is not None:
        raise UserError(f"splits.test: {config.test:g} has no meaning, for the source has a test set; leave it out")
    if not has_test and config.test is None:
        raise UserError("splits.test: required, for the source has no test set; 0.2 is usual")
    generator = np.random.RandomState(config.seed)  # whose stream never changes (NEP 19)
    drawn: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(Splits)}
    for label, name in enumerate(class_names):
        ids = np.flatnonzero(labels_N[:num_train] == label)
        counts = _counts(len(ids), config, name)
        ends = np.cumsum(list(counts.values()))[:-1]
        for split, some in zip(counts, np.split(generator.permutation(ids), ends), strict=True):
            drawn[split].append(some)
    if has_test:
        _check_test(labels_N[num_train:], class_names)
        drawn["test"].append(np.arange(num_train, len(labels_N)))
    return Splits(**{split: np.sort(np.concatenate(ids)).astype(np.int64) for split, ids in drawn.items()})


def _counts(num: int, config: SplitsConfig, name: str) -> dict[str, int]:
    """Images of each split, out of the `num` training images of class `name`."""
    needed = 3 if config.test is None else 4
    if num < needed:
        raise UserError(f"data.train: class {name!r} has {num} images; {needed} are needed, one for each split")
    test = _share(num, config.test, "test", name) if config.test is not None else 0
    rest = num - test
    weigh, choose = (
        _share(rest, share, split, name) for split, share in (("weigh", config.weigh), ("choose", config.choose))
    )
    if weigh + choose >= rest:
        raise UserError(
            f"splits: weigh {config.weigh:g} and choose {config.choose:g} leave none of the {rest} training images of "
            f"class {name!r} to fit; lower them"
        )
    return {"test": test, "weigh": weigh, "choose": choose, "fit": rest - weigh - choose}


def _share(num: int, share: float, split: str, name: str) -> int:
    if count := int(num * share + 0.5):
        return count
    enough = np.ceil(500 / num) / 1000
    raise UserError(
        f"splits.{split}: {share:g} gives none of the {num} images of class {name!r}; {enough:g} would give one"
    )


def _check_test(labels_N: np.ndarray, class_names: Sequence[str]) -> None:
    missing = np.setdiff1d(np.arange(len(class_names)), labels_N)
    if len(missing):
        raise UserError(
            f"data.test: class {class_names[missing[0]]!r} has no image among the {len(labels_N)} of the test set; "
            "every class needs one (data.max_test_images may be too low)"
        )


# ------------------------------------------------------------------------------------------------------ decoding


@dataclass(frozen=True)
class _Decoder:
    """Turns stored images into pixels of one size."""

    transform: Transform
    must_agree: bool  # no size was asked for, so every image must have the first one's

    def run(
        self, pool: ThreadPoolExecutor, part: Part, stream: Iterator[Stored | None], target_NCHW: np.ndarray
    ) -> Iterator[int]:
        """Decode the images of `part` into `target_NCHW`; yields how many more are done."""
        numbered = enumerate(islice(stream, len(target_NCHW)))
        while block := list(islice(numbered, _BLOCK)):
            handfuls = [block[start : start + _HANDFUL] for start in range(0, len(block), _HANDFUL)]
            # In order, so that it is always the first bad image that is named.
            for _ in pool.map(lambda handful: self._decode(part, handful, target_NCHW), handfuls):
                pass
            yield len(block)

    def _decode(self, part: Part, handful: list[tuple[int, Stored | None]], target_NCHW: np.ndarray) -> None:
        for i, stored in handful:
            image = _open(part, i, stored)
            size = (self.transform.width, self.transform.height)
            if self.must_agree and image.size != size:
                raise UserError(
                    f"transform.size: required, for {part.where(i)} of {part.field} is {image.height}x{image.width} "
                    f"and the first image {size[1]}x{size[0]} (height x width)"
                )
            try:
                target_NCHW[i] = self.transform.prepare(image)
            except UserError as error:
                raise UserError(f"{part.field}: {part.where(i)} {error}") from None


def _open(part: Part, i: int, stored: Stored | None) -> Image.Image:
    """The decoded image, upright; raises UserError that says which one is damaged."""
    if stored is None:
        raise UserError(f"{part.field}: {part.where(i)} has no image bytes")
    try:
        if isinstance(stored, np.ndarray):
            return Image.fromarray(stored)
        image = Image.open(BytesIO(stored) if isinstance(stored, bytes) else stored)
        image.load()
        return upright(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
        raise UserError(f"{part.field}: {part.where(i)} cannot be decoded as an image: {reason}") from error


def _check_memory(num: int, transform: Transform, share: float) -> None:
    needed = num * transform.channels * transform.height * transform.width
    free = psutil.virtual_memory().available
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
