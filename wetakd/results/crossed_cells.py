"""Test results as a crossed layout: one row for each seed (or replicate), one column for each test image (or group)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from wetakd.results.statistics import FloatArray, Pair

CorrectByPair = Mapping[Pair, npt.NDArray[np.bool_]]
"""For each (replicate, seed), whether its student classifies each test image correctly: bool [N], the same N images."""


def accuracy_cells(correct: CorrectByPair, *, by_replicate: bool) -> FloatArray | None:
    """Correctness of one recipe's students as a crossed layout.

    Args:
        correct: Test results by (replicate, seed).
        by_replicate: A row is a replicate and a cell is the mean over its seeds; otherwise a row is a pair.

    Returns:
        float64 [S, N] in [0, 1], rows in the order of the pairs; None for no pairs.

    Raises:
        ValueError: if two students have different numbers of test images.
    """
    return _cells({pair: np.asarray(values_N, dtype=np.float64) for pair, values_N in correct.items()}, by_replicate)


def difference_cells(first: CorrectByPair, second: CorrectByPair, *, by_replicate: bool) -> FloatArray | None:
    """Paired difference `first - second` of two recipes as a crossed layout.

    Every student is evaluated on all test images, so only whole rows can be missing. Pairs that one recipe lacks are
    dropped; what remains is the largest complete rectangle.

    Args:
        first: Test results of one recipe by (replicate, seed).
        second: Test results of the other recipe.
        by_replicate: A row is a replicate and a cell is the mean over its shared seeds; otherwise a row is a pair.

    Returns:
        float64 [S, N] in [-1, 1]: 1 where only `first` is correct, -1 where only `second` is. None where the recipes
        share no pair.

    Raises:
        ValueError: if two students have different numbers of test images.
    """
    shared = first.keys() & second.keys()
    values = {p: np.subtract(first[p], second[p], dtype=np.float64) for p in shared if len(first[p]) == len(second[p])}
    if len(values) < len(shared):
        raise ValueError("the students of one pair must have the same number of test images")
    return _cells(values, by_replicate)


def _cells(values: Mapping[Pair, FloatArray], by_replicate: bool) -> FloatArray | None:
    if len({len(values_N) for values_N in values.values()}) > 1:
        raise ValueError("all students must have the same number of test images")
    if not values:
        return None
    if not by_replicate:
        return np.stack([values[pair] for pair in sorted(values)])
    replicates = sorted({replicate for replicate, _ in values})
    rows = [np.mean([values[pair] for pair in sorted(values) if pair[0] == r], axis=0) for r in replicates]
    return np.stack(rows)


def grouped_cells(values_SN: FloatArray, group_N: npt.NDArray[Any]) -> FloatArray:
    """Replace the images of each group, such as a patient, by one cell, because such images are not independent.

    The mean over images is a ratio of two sums over groups, `sum of values / sum of sizes`. The returned cells are its
    linearisation, `m + (n_g / n) (y_sg - m)` with the mean `m` over all cells, the size `n_g` of group g, the mean size
    `n` and the mean `y_sg` over the images of group g: their plain mean over groups is the mean over images, for
    each seed, and their variance between groups is that of the ratio estimator.

    Args:
        values_SN: Cells by seed and image.
        group_N: Group of each image: integers or strings.

    Returns:
        float64 [S, G], groups in sorted order. Where sizes differ, cells may be outside the range of the values.

    Raises:
        ValueError: if `group_N` does not have one entry for each image.

    References:
        Cochran (1977), Sampling Techniques, chapter 9A (clusters of unequal sizes, ratio to size).
    """
    if np.shape(group_N) != (values_SN.shape[1],):
        raise ValueError(f"group_N: must have one entry for each of {values_SN.shape[1]} images, got {len(group_N)}")
    index_N, size_G = np.unique(group_N, return_inverse=True, return_counts=True)[1:]
    deviation_SN = values_SN - values_SN.mean()
    sum_SG = np.stack([np.bincount(index_N, weights=row_N, minlength=len(size_G)) for row_N in deviation_SN])
    return np.asarray(values_SN.mean() + sum_SG / size_G.mean(), dtype=np.float64)
