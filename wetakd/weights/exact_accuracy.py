"""The exact accuracy: the few rows that decide which samples a weighting gets right, and the exact count on them.

With y the label, a mixture is right about a sample when it scores y above every other class c (lower classes win
ties): `weights . d > 0` for c < y and `>= 0` for c > y, where `d_k = score_k(y) - score_k(c)`. One vector d in R^K for
a (sample, class) is a *row*. Here the rows are such that the sign of `weights . d` alone decides, for any non-negative
weights of any positive scale; `exact_accuracy_build` makes them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wetakd.weights.network_scores import Floats, Integers

Flags = NDArray[np.bool_]

TILE_ROWS = 1024
"""Rows multiplied at once: with the population of five networks their margins about fit a second-level cache."""
LANE_LIMIT = 255
"""Flags that a byte can add up."""


@dataclass(frozen=True, eq=False)
class AccuracyRows:
    """The compiled rows of N samples: `rows_RK` float64 sorted by sample, `sample_R` their samples."""

    rows_RK: Floats
    sample_R: Integers
    always_wrong_N: Flags
    """Samples that no weights get right."""

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.always_wrong_N)

    @property
    def num_disputed(self) -> int:
        """Samples whose verdict depends on the weights."""
        return len(np.unique(self.sample_R))

    @property
    def accuracy_cap(self) -> float:
        """No weights are right more often than this."""
        return 1.0 - int(self.always_wrong_N.sum()) / self.num_samples

    def right(self, weights_K: Floats) -> Flags:
        """Which samples one weighting gets right, [N]."""
        right_N = ~self.always_wrong_N
        right_N[self.sample_R[self.rows_RK @ weights_K < 0]] = False
        return right_N

    def count_wrong(self, weights_MK: Floats) -> NDArray[np.int64]:
        """How many samples each of M weightings gets wrong, [M]."""
        num_candidates, num_networks = weights_MK.shape
        if num_candidates == 1:
            return np.array([self.num_samples - np.count_nonzero(self.right(weights_MK[0]))])
        num_lanes = -(-num_candidates // 8) * 8
        weights_KM = np.zeros((num_networks, num_lanes))
        weights_KM[:, :num_candidates] = weights_MK.T
        wrong_M = np.full(num_lanes, np.count_nonzero(self.always_wrong_N))
        for tile_rSK in self._tiles:
            flags_XM = tile_rSK.reshape(-1, num_networks) @ weights_KM < 0
            if len(tile_rSK) > 1:
                flags_XM = np.logical_or.reduce(flags_XM.reshape(*tile_rSK.shape[:2], num_lanes), axis=0)
            # Eight flags make one uint64: added as such, each byte counts for its own weighting.
            words_SX = flags_XM.view(np.uint64)
            for first in range(0, len(words_SX), LANE_LIMIT):
                wrong_M += np.add.reduce(words_SX[first : first + LANE_LIMIT], axis=0).view(np.uint8)
        return wrong_M[:num_candidates]

    @cached_property
    def _tiles(self) -> list[Floats]:
        """Samples with similar row counts side by side, [r, S, K]; the padding (a row repeated) is harmless."""
        _, starts, counts = np.unique(self.sample_R, return_index=True, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        starts, counts = starts[order], counts[order]
        tiles, first = [], 0
        while first < len(starts):
            depth = int(counts[first])
            last = first + max(1, TILE_ROWS // depth)
            row_rS = np.arange(depth)[:, None] % counts[first:last]
            tiles.append(self.rows_RK[starts[first:last] + row_rS])
            first = last
        return tiles

    def subset(self, index_n: Integers) -> Self:
        """The same networks on the samples `index_n` (no sample twice), without compiling again."""
        place_N = np.full(self.num_samples, -1, dtype=np.intp)
        place_N[index_n] = np.arange(len(index_n))
        place_R = place_N[self.sample_R]
        kept = np.flatnonzero(place_R >= 0)
        kept = kept[np.argsort(place_R[kept], kind="stable")]
        return type(self)(self.rows_RK[kept], place_R[kept], self.always_wrong_N[index_n])

    def restricted(self, middle_R: Floats, reach_R: Floats) -> Self:
        """What is left to count for weights whose margins are all known to lie within `reach_R` of `middle_R`."""
        always_wrong_N = self.always_wrong_N.copy()
        always_wrong_N[self.sample_R[middle_R < -reach_R]] = True
        open_R = np.flatnonzero((middle_R <= reach_R) & ~always_wrong_N[self.sample_R])
        return type(self)(self.rows_RK[open_R], self.sample_R[open_R], always_wrong_N)
