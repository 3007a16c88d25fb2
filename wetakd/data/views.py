"""Views: augmentation as numbered, repeatable pictures of a sample.

Stored logits are right only for the very pixels that they were computed on, so a view is integer operations alone:
shift inside a zero border, mirror left to right. What a view does to a sample is read off a hash of
(seed, view, sample id): no generator, no state, so the same pixels on any device, in any process and in any batch.
View 0 is the clean image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wetakd.common.errors import UserError
from wetakd.config import ViewsConfig

# splitmix64 (Steele, Lea & Flood 2014), its constants written as signed 64-bit numbers.
_GAMMA = -0x61C8864680B583EB
_MULTIPLIER_1 = -0x40A7B892E31B1A47
_MULTIPLIER_2 = -0x6B2FB644ECCEEE15
# Odd and without structure: seeds and views enter the one sequence of splitmix64 far from each other.
_SEED_STRIDE = 0xD1342543DE82EF95
_VIEW_STRIDE = 0xAF251AF3B0F025B5
# One hash holds three independent draws: bits 0-23, bits 24-47 and bit 48.
_DRAW_BITS = 24


def as_tensor(array: np.ndarray) -> Tensor:
    """The same memory as a tensor, also where `array` is a read-only view of the object store; no copy, no warning.

    Never write to the result: torch has no read-only tensors, and every reader of the array would see it.
    """
    return torch.utils.dlpack.from_dlpack(array)


def hash_samples(seed: int, view: int, sample_ids_B: Tensor) -> Tensor:
    """64 pseudo-random bits a sample (int64, shape B): the output of splitmix64 at a place set by seed, view and id."""
    start = (seed * _SEED_STRIDE + view * _VIEW_STRIDE + 1) % 2**64
    signed = start - 2**64 if start >= 2**63 else start
    # Sums and products wrap around; `>>` copies the sign of an int64, and each mask takes those copies off again.
    z = (sample_ids_B + signed) * _GAMMA
    z = (z ^ ((z >> 30) & 0x3_FFFF_FFFF)) * _MULTIPLIER_1
    z = (z ^ ((z >> 27) & 0x1F_FFFF_FFFF)) * _MULTIPLIER_2
    return z ^ ((z >> 31) & 0x1_FFFF_FFFF)


def _draw_below(limit: int, bits_B: Tensor) -> Tensor:
    """A number in 0..limit-1 from 24 bits; the odds of two numbers differ by less than `limit` in 2**24."""
    return ((bits_B & ((1 << _DRAW_BITS) - 1)) * limit) >> _DRAW_BITS


@dataclass(frozen=True)
class Views:
    """`num` views a sample; views 1.. shift by up to `crop_padding` pixels each way and mirror with odds of a half."""

    num: int
    flip: bool
    crop_padding: int
    seed: int

    @classmethod
    def of(cls, config: ViewsConfig) -> Views:
        """The views of a study file; raises UserError where a setting could have no effect."""
        changes = config.flip or config.crop_padding > 0
        if changes and config.num == 1:
            raise UserError("views.num: 1 is the clean image alone; flip and crop_padding need 2 or more")
        if config.num > 1 and not changes:
            raise UserError(f"views.num: {config.num} views would all be the same; set flip or crop_padding, or num: 1")
        return cls(config.num, config.flip, config.crop_padding, config.seed)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError where the border is so wide that a view could be all border."""
        if self.crop_padding >= min(height, width):
            raise UserError(f"views.crop_padding: {self.crop_padding} must be less than the images' {height}x{width}")

    def apply(self, images_NCHW: Tensor, sample_ids_B: Tensor, view: int) -> Tensor:
        """Pictures of one view of some samples.

        Args:
            images_NCHW: uint8, the whole data set; only read. On any device.
            sample_ids_B: int64, rows of `images_NCHW`, on the same device, in any order, repeats allowed.
            view: 0 (the clean images) to num - 1.

        Returns:
            uint8 BCHW, newly allocated.
        """
        if not 0 <= view < self.num:
            raise ValueError(f"view {view} is not one of 0..{self.num - 1}")
        images_BCHW = images_NCHW.index_select(0, sample_ids_B)
        if view == 0 or not len(sample_ids_B):
            return images_BCHW
        bits_B = hash_samples(self.seed, view, sample_ids_B)
        if self.crop_padding:
            span = 2 * self.crop_padding + 1
            images_BCHW = _crop(
                images_BCHW, self.crop_padding, _draw_below(span, bits_B), _draw_below(span, bits_B >> _DRAW_BITS)
            )
        return _flip(images_BCHW, (bits_B >> 2 * _DRAW_BITS) & 1) if self.flip else images_BCHW


def _crop(images_BCHW: Tensor, padding: int, tops_B: Tensor, lefts_B: Tensor) -> Tensor:
    """Cut each image out of its zero border at its own place."""
    B, C, H, W = images_BCHW.shape
    padded = torch.nn.functional.pad(images_BCHW, (padding,) * 4)
    strides = padded.stride()
    # Every window of the padded batch as one row of an overlapping view, so that one gather cuts all of them. On CPU
    # 2x faster than indexing an unfold, 4x than a loop over images, 10x than a gather by pixel or a group per shift.
    last = (C - 1) * strides[1] + (H - 1) * strides[2] + W
    windows = padded.as_strided((padded.numel() - last + 1, C, H, W), (1, *strides[1:]))
    images_B = torch.arange(B, device=padded.device)
    return windows.index_select(0, images_B * strides[0] + tops_B * strides[2] + lefts_B)


def _flip(images_BCHW: Tensor, flips_B: Tensor) -> Tensor:
    """Mirror the images whose flip is 1. (Faster than torch.where on uint8, by 3x on CPU.)"""
    B = len(images_BCHW)
    both = torch.cat([images_BCHW, images_BCHW.flip(-1)])
    return both.index_select(0, torch.arange(B, device=both.device) + B * flips_B)
