"""The user's own function that returns images and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from wetakd.common.errors import UserError, describe_error
from wetakd.common.user_functions import resolve_function
from wetakd.config import CallableData
from wetakd.data.sources._labelled_images import ImageSource, images_in_memory


def open_callable(data: CallableData) -> ImageSource:
    try:
        found = resolve_function(data.callable, "data.callable")(**data.options)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"data.callable: {data.callable!r} raised {describe_error(error)}") from error
    if not isinstance(found, tuple | list) or len(found) not in (2, 4):
        raise UserError(
            f"data.callable: {data.callable!r} must return (images, labels) or (images, labels, test_images, "
            f"test_labels), not {_described(found)}"
        )
    parts = [
        images_in_memory("data.callable", *_checked_arrays(data.callable, name, found[i], found[i + 1]))
        for i, name in ((0, ""), (2, "test_"))[: len(found) // 2]
    ]
    return ImageSource(parts[0], parts[1] if len(parts) == 2 else None, None)


def _checked_arrays(callable_name: str, name: str, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pixels NHW or NHWC and labels N."""
    prefix = f"data.callable: {callable_name!r} gave {name}"
    try:
        images, labels = np.asarray(images), np.asarray(labels)
    except Exception as error:  # whatever conversion the object brings along
        raise UserError(f"{prefix}images or labels that are no array: {describe_error(error)}") from error
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape[1:]:
        raise UserError(f"{prefix}images as {_described(images)}; uint8 of shape NCHW, NHWC or NHW is needed")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images):
        raise UserError(f"{prefix}labels as {_described(labels)}; integers of shape ({len(images)},) are needed")
    if images.ndim == 3:
        return images, labels
    for channels in ((1, 3), (4,)):
        first, last = images.shape[1] in channels, images.shape[3] in channels
        if first and last and images.shape[1:] != (1, 1, 1):
            raise UserError(f"{prefix}images of shape {images.shape}, which could be NCHW or NHWC; avoid such a size")
        if first or last:
            images = images.transpose(0, 2, 3, 1) if first else images
            return images[..., 0] if images.shape[3] == 1 else images, labels
    raise UserError(f"{prefix}images of shape {images.shape}; 1, 3 or 4 channels are needed, in NCHW or NHWC")


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__
