"""Tiles: the margin rows laid out so that many weightings are counted at the speed of a matrix product."""

import numpy as np
from numpy.typing import NDArray

from wetakd.weights.scores import Floats, Integers

TILE_OUTPUTS = 1 << 16
"""Margins computed at once: 512 KB as float64, about one core's second-level cache."""
MIN_TILE_ROWS = 128
LANE_LIMIT = 255
"""Flags that a byte can add up."""


class Tiles:
    """Rows of samples with similar row counts side by side: tile [r, S, K] holds r rows of each of S samples.

    Samples are sorted by their number of rows, so the padding (a row repeated: harmless) stays small.
    """

    def __init__(self, rows_RK: Floats, sample_R: Integers):
        starts = np.flatnonzero(np.diff(sample_R, prepend=-1))
        counts = np.diff(starts, append=len(sample_R))
        order = np.argsort(-counts, kind="stable")
        self._rows_RK, self._starts, self._counts = rows_RK, starts[order], counts[order]
        self._starts_in_order = starts
        self._layouts: dict[int, list[Floats]] = {}

    def count_violated(self, weights_MK: Floats) -> NDArray[np.int64]:
        """How many samples have at least one row with a negative margin, for each of M weightings, [M]."""
        num_candidates, num_networks = weights_MK.shape
        if num_candidates == 1 and len(self._starts):
            flags_R = self._rows_RK @ weights_MK[0] < 0
            return np.array([np.count_nonzero(np.logical_or.reduceat(flags_R, self._starts_in_order))])
        num_lanes = -(-num_candidates // 8) * 8
        weights_KM = np.zeros((num_networks, num_lanes))
        weights_KM[:, :num_candidates] = weights_MK.T
        violated_M = np.zeros(num_lanes, dtype=np.int64)
        for tile_rSK in self._layout(num_lanes):
            depth, num_samples, _ = tile_rSK.shape
            flags_XM = tile_rSK.reshape(-1, num_networks) @ weights_KM < 0
            if depth > 1:
                flags_XM = np.logical_or.reduce(flags_XM.reshape(depth, num_samples, num_lanes), axis=0)
            # Eight flags make one uint64: added as such, each byte counts for its own weighting.
            words_SX = flags_XM.view(np.uint64)
            for first in range(0, num_samples, LANE_LIMIT):
                violated_M += np.add.reduce(words_SX[first : first + LANE_LIMIT], axis=0).view(np.uint8)
        return violated_M[:num_candidates]

    def _layout(self, num_candidates: int) -> list[Floats]:
        """The tiles for about that many weightings, built on first use."""
        num_rows = max(MIN_TILE_ROWS, TILE_OUTPUTS >> (num_candidates - 1).bit_length())
        if num_rows not in self._layouts:
            tiles, first = [], 0
            while first < len(self._starts):
                depth = int(self._counts[first])
                last = min(first + max(1, num_rows // depth), len(self._starts))
                row = np.arange(depth)[:, None] % self._counts[first:last]
                tiles.append(self._rows_RK[self._starts[first:last] + row])
                first = last
            self._layouts[num_rows] = tiles
        return self._layouts[num_rows]
