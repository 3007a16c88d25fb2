"""Tiles: the margin rows laid out so that many weightings are counted at memory-friendly speed."""

import numpy as np
from numpy.typing import NDArray

from wetakd.weights.scores import Floats, Integers

TILE_OUTPUTS = 1 << 16
"""Margins computed at once: 512 KB as float64, about one core's second-level cache."""


class Tiles:
    """Rows of samples with similar row counts side by side: tile [r, S, K] holds r rows of each of S samples.

    Samples are sorted by their number of rows, so the padding (a row repeated: harmless) stays small.
    """

    def __init__(self, rows_RK: Floats, sample_R: Integers):
        starts = np.flatnonzero(np.diff(sample_R, prepend=-1))
        counts = np.diff(starts, append=len(sample_R))
        order = np.argsort(-counts, kind="stable")
        self._starts, self._counts, self._rows_RK = starts[order], counts[order], rows_RK
        self._tiles: dict[int, list[Floats]] = {}

    def _layout(self, num_candidates: int) -> list[Floats]:
        num_rows = max(64, TILE_OUTPUTS // num_candidates)
        if num_rows not in self._tiles:
            tiles, first = [], 0
            while first < len(self._starts):
                depth = int(self._counts[first])
                last = min(first + max(1, num_rows // depth), len(self._starts))
                row = np.arange(depth)[:, None] % self._counts[first:last]
                tiles.append(self._rows_RK[self._starts[first:last] + row])
                first = last
            self._tiles[num_rows] = tiles
        return self._tiles[num_rows]

    def count_violated(self, weights_MK: Floats) -> NDArray[np.int64]:
        """How many samples have at least one row with a negative margin, for each of M weightings, [M]."""
        weights_KM = np.ascontiguousarray(weights_MK.T, dtype=np.float64)
        violated_M = np.zeros(weights_KM.shape[1], dtype=np.int64)
        for tile_rSK in self._layout(weights_KM.shape[1]):
            depth, num_samples, num_networks = tile_rSK.shape
            margins = (tile_rSK.reshape(-1, num_networks) @ weights_KM).reshape(depth, num_samples, -1)
            violated_M += (margins.min(axis=0) < 0).sum(axis=0)
        return violated_M
