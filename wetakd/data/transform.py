"""From a stored image to a network's input: one description for training, evaluation and the exported student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from wetakd.common.errors import UserError
from wetakd.config import TransformConfig

_DEEP_GREY = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_DEEP_GREY)
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# Images whose pixels are looked at together; bounds the memory of the statistics.
_STATISTICS_BLOCK = 2048


@dataclass(frozen=True)
class Transform:
    """Concrete numbers only: sizes in pixels, background 0..255, mean and std per channel in 0..1."""

    height: int
    width: int
    channels: int
    background: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, image: Image.Image) -> np.ndarray:
        """uint8 CHW of any Pillow image.

        In this order: turned upright by its orientation tag; 16 bits to 8; transparency over the background; grey or
        RGB (CMYK, palettes and the like converted); resized to height x width, bilinear with antialiasing, without
        keeping the ratio of its sides.

        Raises:
            UserError: pixels that have no standard reading (32-bit floats, CIE Lab).
        """
        image = _eight_bits(upright(image))
        if image.mode in _ALPHA or "transparency" in image.info:
            image = _flatten(image, self.background)
        image = _convert(image, "L" if self.channels == 1 else "RGB")
        if image.size != (self.width, self.height):
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """float32 on the same device: (x / 255 - mean) / std per channel, as one multiplication and one addition."""
        scale = [1 / (255 * std) for std in self.std]
        shift = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        both = torch.tensor([scale, shift], dtype=torch.float32).to(images_BCHW.device, non_blocking=True)
        scale_C11, shift_C11 = both[0, :, None, None], both[1, :, None, None]
        return images_BCHW.to(torch.float32, copy=True).mul_(scale_C11).add_(shift_C11)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Transform:
        """The reverse of `to_dict`, also after a trip through JSON."""
        return cls(**{**data, "mean": tuple(data["mean"]), "std": tuple(data["std"])})


def resolve_transform(config: TransformConfig, first: Image.Image) -> Transform:
    """What `config` means for a source whose first image is `first`; `auto` statistics are still 0 and 1.

    Raises:
        UserError: mean or std out of range, or with another number of values than the images have channels.
    """
    first = upright(first)
    size = config.size if config.size is not None else (first.height, first.width)
    height, width = (size, size) if isinstance(size, int) else size
    if config.size is not None and not 4 <= min(height, width) <= max(height, width) <= 1024:
        raise UserError(f"transform.size: {[height, width]} must lie within 4..1024 pixels")
    wanted = {"grey": 1, "rgb": 3, "keep": 1 if first.mode in _GREY else 3}
    channels = wanted[config.channels]
    for field, given, low in (("mean", config.mean, 0.0), ("std", config.std, 1e-6)):
        if given == "auto":
            continue
        if len(given) != channels:
            raise UserError(f"transform.{field}: {list(given)} has {len(given)} values for {channels} channels")
        if not all(low <= value <= 1 for value in given):
            raise UserError(f"transform.{field}: {list(given)} must lie within {low:g}..1 (pixels are scaled to 0..1)")
    mean = (0.0,) * channels if config.mean == "auto" else tuple(config.mean)
    std = (1.0,) * channels if config.std == "auto" else tuple(config.std)
    return Transform(height, width, channels, config.background, mean, std)


def with_statistics(
    transform: Transform, config: TransformConfig, images_NCHW: np.ndarray, ids: np.ndarray
) -> Transform:
    """Put the mean and standard deviation of the images `ids` where `config` says `auto`."""
    if "auto" not in (config.mean, config.std):
        return transform
    counts_C256 = np.zeros((transform.channels, 256), dtype=np.int64)
    for start in range(0, len(ids), _STATISTICS_BLOCK):
        block = images_NCHW[ids[start : start + _STATISTICS_BLOCK]]
        counts_C256 += [np.bincount(block[:, c].ravel(), minlength=256) for c in range(transform.channels)]
    shares_C256 = counts_C256 / counts_C256.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255
    mean_C = shares_C256 @ levels
    variance_C = (shares_C256 * (levels - mean_C[:, None]) ** 2).sum(axis=1)
    if config.mean == "auto":
        transform = replace(transform, mean=tuple(mean_C.tolist()))
    if config.std == "auto":
        # A channel that never changes carries nothing; leave it as it is rather than divide by zero.
        transform = replace(transform, std=tuple(np.where(variance_C > 1e-12, np.sqrt(variance_C), 1.0).tolist()))
    return transform


def upright(image: Image.Image) -> Image.Image:
    """The image as its orientation tag says that it is to be seen."""
    return ImageOps.exif_transpose(image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey; Pillow itself would clip it to white. Mode `I` is what some 16-bit files open as."""
    if image.mode not in _DEEP_GREY:
        return image
    deep = np.asarray(image).astype(np.int64).clip(0, 65535)
    return Image.fromarray(((deep + 128) // 257).astype(np.uint8))


def _flatten(image: Image.Image, background: int) -> Image.Image:
    """Lay the image over a grey background."""
    image = _convert(image, "RGBA")
    paper = Image.new("RGBA", image.size, (background, background, background, 255))
    return Image.alpha_composite(paper, image).convert("RGB")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in ("F", "LAB"):
        raise UserError(f"has Pillow mode {image.mode}, which has no standard reading as 8-bit {mode}")
    return image if image.mode == mode else image.convert(mode)
