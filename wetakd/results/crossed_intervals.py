"""Intervals over seeds and test images together, for the accuracy of a recipe and for a difference of two recipes.

The layout is crossed: every student (row, a seed or a replicate) classifies every test image (column). With row effect
variance A, image effect variance B and residual variance E (interaction), the mean of S rows and N images has variance

    A / S + B / N + E / (S N)  =  (MS_seed + MS_image - MS_residual) / (S N)   in expectation

(two-way random effects, one observation in a cell; Searle, Casella & McCulloch 1992, Variance Components, chapter 4).

The interval adds the squared half-widths of two independent sources, as in MOVER (Zou & Donner 2008, Statistics in
Medicine 27:1693): what differs between students on all images, with t of S - 1 degrees of freedom, and the rest,
with t of N - 1. It is never narrower than the ordinary t interval over seeds, which holds for these images only:

    h^2 = max(t_(S-1)^2 max(MS_seed - MS_residual, 0) + t_(N-1)^2 max(MS_image, MS_residual),
              t_(S-1)^2 MS_seed) / (S N)

docs/statistics.md says why this is used instead of Satterthwaite's degrees of freedom, and has the measured coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from wetakd.results.crossed_cells import grouped_cells
from wetakd.results.statistics import CONFIDENCE, FloatArray

FEW_ERRORS = 30
"""With fewer errors (or correct images) than this, an accuracy's interval is computed on the logit scale."""
EXTREME_ACCURACY = 0.95
"""Also above this accuracy, and below 1 minus it."""
# Differences between cells below this are rounding.
_SPREAD_TOLERANCE = 1e-12


class Covers(StrEnum):
    """What was drawn at random, as far as an interval knows."""

    SEEDS_AND_IMAGES = "seeds and images"
    """Holds for other seeds and other test images of the same kind."""
    IMAGES_ONLY = "images only"
    """Holds for these students on other test images of the same kind."""


@dataclass(frozen=True)
class CrossedInterval:
    """An estimate with its interval, in shares of 1."""

    estimate: float
    """Mean over all cells."""
    low: float
    high: float
    level: float
    """Such as 0.95."""
    num_seeds: int
    """Rows of the layout: seeds, or replicates."""
    num_images: int
    num_groups: int
    """Independent groups of images; `num_images` where images are not grouped."""
    covers: Covers
    seed_error: float | None
    """Standard error over seeds, for these images: `sqrt(MS_seed / (S N))`. None for `images only`."""
    image_error: float
    """Standard error from images that no number of seeds removes; for `images only`, from images for these students."""
    residual_error: float | None
    """`sqrt(MS_residual / (S N))`: what `seed_error` is where no student is better than another. None as above."""

    @property
    def standard_error(self) -> float:
        """Of the estimate: `sqrt((max(MS_seed, MS_residual) + max(MS_image, MS_residual) - MS_residual) / (S N))`."""
        return math.hypot(max(self.seed_error or 0.0, self.residual_error or 0.0), self.image_error)


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of a two-way layout with one observation in a cell; 0 without degrees of freedom."""

    seed: float
    """S - 1 degrees of freedom."""
    image: float
    """N - 1 degrees of freedom."""
    residual: float
    """(S - 1)(N - 1) degrees of freedom."""


def mean_squares(values_SN: FloatArray) -> MeanSquares:
    """Mean squares of seeds, images and residual of float64 `values_SN`, S >= 1 and N >= 1."""
    S, N = values_SN.shape
    deviation_SN = values_SN - values_SN.mean()
    seed = N * float(np.square(deviation_SN.mean(axis=1)).sum())
    image = S * float(np.square(deviation_SN.mean(axis=0)).sum())
    residual = max(float(np.vdot(deviation_SN, deviation_SN)) - seed - image, 0.0)
    return MeanSquares(seed / max(S - 1, 1), image / max(N - 1, 1), residual / max((S - 1) * (N - 1), 1))


def accuracy_interval(
    correct_SN: npt.NDArray[Any], *, level: float = CONFIDENCE, group_N: npt.NDArray[Any] | None = None
) -> CrossedInterval:
    """Interval for the mean accuracy of a recipe.

    Symmetric, or on the logit scale (delta method) where the accuracy is above 95 % (below 5 %) or fewer than 30 images
    are wrong (or correct), averaged over the seeds. Wilson's score interval, over images only, where the layout has one
    row (a given student), equal rows, or one image.

    Args:
        correct_SN: One row for each seed or replicate, bool or numbers in [0, 1]; see `accuracy_cells`.
        level: Confidence level; for Bonferroni's correction over k contrasts `1 - 0.05 / k`.
        group_N: Group of each image (such as its patient). Groups then take the place of images everywhere.

    Raises:
        ValueError: for an empty, incomplete (NaN) or out-of-range layout, or a level outside (0, 1).

    References:
        Wilson (1927), JASA 22:209; with groups for one student, its sample size is the effective one (Korn & Graubard
        1998, Survey Methodology 24:193).
    """
    values_SN = _checked(correct_SN, 0.0, level)
    cells_SG = values_SN if group_N is None else grouped_cells(values_SN, group_N)
    (S, N), G = values_SN.shape, cells_SG.shape[1]
    mean = float(values_SN.mean())
    if G == 1 or _rows_are_equal(cells_SG):
        return _wilson(mean, _effective_size(mean, cells_SG, N), level, (S, N, G))
    parts = _Parts.of(cells_SG)
    half = parts.half_width(level)
    if EXTREME_ACCURACY >= mean >= 1 - EXTREME_ACCURACY and G * min(mean, 1 - mean) >= FEW_ERRORS:
        low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    else:
        center, width = float(special.logit(mean)), half / (mean * (1 - mean))
        low, high = float(special.expit(center - width)), float(special.expit(center + width))
    return parts.interval(mean, (low, high), level, (S, N, G), images_only=False)


def difference_interval(
    difference_SN: npt.NDArray[Any], *, level: float = CONFIDENCE, group_N: npt.NDArray[Any] | None = None
) -> CrossedInterval:
    """Interval for the mean paired difference of two recipes.

    Over images only where the layout has one row (two given students), equal rows, or one image. Then two images are
    added, one won and one lost (Bonett & Price 2012): the interval never has width 0, and N undisputed images still
    allow differences up to about `2.8 / N`, close to the rule of three. The estimate is the plain mean in any case.

    Args:
        difference_SN: One row for each seed or replicate, numbers in [-1, 1]; see `difference_cells`.
        level: Confidence level; for Bonferroni's correction over k contrasts `1 - 0.05 / k`.
        group_N: Group of each image (such as its patient). Groups then take the place of images everywhere.

    Raises:
        ValueError: for an empty, incomplete (NaN) or out-of-range layout, or a level outside (0, 1).

    References:
        Bonett & Price (2012), Journal of Educational and Behavioral Statistics 37:479 (adjusted Wald interval).
    """
    values_SN = _checked(difference_SN, -1.0, level)
    cells_SG = values_SN if group_N is None else grouped_cells(values_SN, group_N)
    (S, N), G = values_SN.shape, cells_SG.shape[1]
    images_only = G == 1 or _rows_are_equal(cells_SG)
    if images_only:
        cells_SG = np.concatenate([cells_SG.mean(axis=0), [1.0, -1.0]])[None]
    mean, center, parts = float(values_SN.mean()), float(cells_SG.mean()), _Parts.of(cells_SG)
    half = parts.half_width(level)
    bounds = max(min(center - half, mean), -1.0), min(max(center + half, mean), 1.0)
    return parts.interval(mean, bounds, level, (S, N, G), images_only=images_only)


@dataclass(frozen=True)
class _Parts:
    """Squared standard errors of the mean of a layout with `num_rows` x `num_columns` cells."""

    seed: float
    image: float
    residual: float
    num_rows: int
    num_columns: int

    @classmethod
    def of(cls, values_SN: FloatArray) -> _Parts:
        squares, (S, N) = mean_squares(values_SN), values_SN.shape
        image = max(squares.image - squares.residual, 0.0)
        return cls(squares.seed / (S * N), image / (S * N), squares.residual / (S * N), S, N)

    def half_width(self, level: float) -> float:
        return combined_half_width((self.seed, self.image, self.residual), self.num_rows, self.num_columns, level)

    def interval(
        self, mean: float, bounds: tuple[float, float], level: float, counts: tuple[int, int, int], *, images_only: bool
    ) -> CrossedInterval:
        covers = Covers.IMAGES_ONLY if images_only else Covers.SEEDS_AND_IMAGES
        seed, residual = (None, None) if images_only else (math.sqrt(self.seed), math.sqrt(self.residual))
        return CrossedInterval(mean, *bounds, level, *counts, covers, seed, math.sqrt(self.image), residual)


def combined_half_width(parts: tuple[float, float, float], num_seeds: int, num_images: int, level: float) -> float:
    """Half-width `h` of this module's interval.

    Args:
        parts: Squares of `seed_error`, `image_error` and `residual_error`.
        num_seeds: At least 1; for 1 the first and last part do not count.
        num_images: At least 2.
        level: Confidence level.
    """
    seed, image, residual = parts
    images = _t_quantile(num_images - 1, level) ** 2
    if num_seeds == 1:
        return math.sqrt(images * image)
    seeds = _t_quantile(num_seeds - 1, level) ** 2
    return math.sqrt(max(seeds * max(seed - residual, 0.0) + images * (image + residual), seeds * seed))


def _t_quantile(degrees: int, level: float) -> float:
    """Two-sided critical value of Student's t."""
    return float(special.stdtrit(degrees, 0.5 + level / 2))


def _rows_are_equal(values_SN: FloatArray) -> bool:
    """One row, or rows that do not differ in any cell: the layout shows nothing about other seeds."""
    return bool(np.ptp(values_SN, axis=0).max() <= _SPREAD_TOLERANCE)


def _checked(values: npt.NDArray[Any], lowest: float, level: float) -> FloatArray:
    values_SN = np.asarray(values, dtype=np.float64)
    if values_SN.ndim != 2 or values_SN.size == 0:
        raise ValueError(f"the layout must have seeds as rows and images as columns, got shape {values_SN.shape}")
    # Also false for NaN, the mark of a missing cell.
    if not (values_SN.min() >= lowest and values_SN.max() <= 1):
        raise ValueError(f"every cell must be a number from {lowest:g} to 1")
    if not 0 < level < 1:
        raise ValueError(f"level: must be between 0 and 1, got {level}")
    return values_SN


def _effective_size(mean: float, cells_SG: FloatArray, num_images: int) -> float:
    """Number of independent images with the same variance; at most the number of images, at least 1."""
    G = cells_SG.shape[1]
    if num_images == G:
        return num_images
    variance = float(cells_SG.mean(axis=0).var(ddof=1)) / G if G > 1 else 0.0
    return min(max(mean * (1 - mean) / variance, 1.0), num_images) if variance > 0 else G


def _wilson(mean: float, size: float, level: float, counts: tuple[int, int, int]) -> CrossedInterval:
    z = float(special.ndtri(0.5 + level / 2))
    center = (mean + z * z / (2 * size)) / (1 + z * z / size)
    half = z * math.sqrt(mean * (1 - mean) / size + z * z / (4 * size * size)) / (1 + z * z / size)
    low, high = max(min(center - half, mean), 0.0), min(max(center + half, mean), 1.0)
    return CrossedInterval(mean, low, high, level, *counts, Covers.IMAGES_ONLY, None, half / z, None)
