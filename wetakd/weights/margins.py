"""Margins: the few rows that decide which samples a weighting gets right, and the exact count on them.

With y the label, a mixture is right about a sample when it scores y above every other class c (lower classes win
ties): `weights . d > 0` for c < y and `>= 0` for c > y, where `d_k = score_k(y) - score_k(c)`. One vector d in R^K for
a (sample, class) is a *row*. For weights >= 0, not all 0, most rows never matter:

- a row without a negative entry never fails (it covers every sample that all networks get right);
- a sample with a row without a positive entry is wrong under any weights, even where the networks disagree;
- a row that is entry by entry at least another row of its sample is implied by it.

All three look at ranks only, so they are exact. The share of samples that no weights get right is a certified upper
bound of the accuracy. Positive scale doesn't matter: weights need no normalisation here.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wetakd.weights.scores import Floats, Integers, Scores
from wetakd.weights.tiles import Tiles

Flags = NDArray[np.bool_]

TIE_GUARD = 2.0**-46
"""Rows are scaled to a largest entry in [1/2, 1) (by powers of two: exact) and shifted by this much, down where a tie
loses and up where it wins, so that the sign alone decides. Above the rounding of a 64-term float64 sum; a margin
smaller than this part of its row counts as a tie."""


@dataclass(frozen=True)
class Margins:
    """The compiled rows of N samples: `rows_RK` float64 sorted by sample, `sample_R` their samples."""

    rows_RK: Floats
    sample_R: Integers
    hopeless_N: Flags
    """Samples that no weights get right."""

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.hopeless_N)

    @property
    def num_disputed(self) -> int:
        """Samples whose verdict depends on the weights."""
        return int(np.count_nonzero(np.diff(self.sample_R, prepend=-1)))

    @property
    def accuracy_cap(self) -> float:
        """No weights are right more often than this."""
        return 1.0 - self.num_hopeless / self.num_samples

    @cached_property
    def num_hopeless(self) -> int:
        """Samples that no weights get right."""
        return int(self.hopeless_N.sum())

    @cached_property
    def tiles(self) -> Tiles:
        """The rows, laid out for counting."""
        return Tiles(self.rows_RK, self.sample_R)

    def count_wrong(self, weights_MK: Floats) -> NDArray[np.int64]:
        """How many samples each of M weightings (non-negative, any positive scale) gets wrong, [M]."""
        return self.tiles.count_violated(weights_MK) + self.num_hopeless

    def right(self, weights_K: Floats) -> Flags:
        """Which samples one weighting gets right, [N]."""
        right_N = ~self.hopeless_N
        right_N[self.sample_R[self.rows_RK @ weights_K < 0]] = False
        return right_N

    def subset(self, index_n: Integers) -> Self:
        """The same networks on the samples `index_n` (no sample twice), without compiling again."""
        place_N = np.full(self.num_samples, -1, dtype=np.intp)
        place_N[index_n] = np.arange(len(index_n))
        place_R = place_N[self.sample_R]
        kept = np.flatnonzero(place_R >= 0)
        kept = kept[np.argsort(place_R[kept], kind="stable")]
        return type(self)(self.rows_RK[kept], place_R[kept], self.hopeless_N[index_n])


def compile_margins(scores: Scores) -> Margins:
    """One pass over the scores, chunk by chunk."""
    hopeless_N = np.zeros(scores.num_samples, dtype=bool)
    rows, samples_of_rows = [np.empty((0, scores.num_networks))], [np.empty(0, dtype=np.intp)]
    for samples, scores_KnC in scores:
        rows_RK, sample_R, hopeless_n = _compile_chunk(scores_KnC, scores.labels_N[samples])
        hopeless_N[samples] = hopeless_n
        rows.append(rows_RK)
        samples_of_rows.append(sample_R + samples.start)
    return Margins(np.concatenate(rows), np.concatenate(samples_of_rows), hopeless_N)


def _compile_chunk(scores_KnC: NDArray[Any], labels_n: Integers) -> tuple[Floats, Integers, Flags]:
    sample_R, rival_R = _rivals(scores_KnC, labels_n)
    true_RK = scores_KnC[:, sample_R, labels_n[sample_R]].T.astype(np.float64)
    rows_RK = true_RK - scores_KnC[:, sample_R, rival_R].T
    tie_loses_R = rival_R < labels_n[sample_R]
    lowest_R, highest_R = rows_RK.min(axis=1, initial=np.inf), rows_RK.max(axis=1, initial=-np.inf)
    hopeless_n = np.zeros(len(labels_n), dtype=bool)
    hopeless_n[sample_R[(highest_R < 0) | (tie_loses_R & (highest_R <= 0))]] = True
    matters_R = ((lowest_R < 0) | (tie_loses_R & (lowest_R <= 0))) & ~hopeless_n[sample_R]
    rows_RK, sample_R, tie_loses_R = _undominated(rows_RK[matters_R], sample_R[matters_R], tie_loses_R[matters_R])
    _, exponent_R = np.frexp(abs(rows_RK).max(axis=1, initial=0.0))
    rows_RK = np.ldexp(rows_RK, -exponent_R[:, None])
    rows_RK += np.where(tie_loses_R, -TIE_GUARD, TIE_GUARD)[:, None]
    return rows_RK, sample_R, hopeless_n


def _rivals(scores_KnC: NDArray[Any], labels_n: Integers) -> tuple[Integers, Integers]:
    """Samples and classes where some network scores the class at least as high as the label."""
    everyone = np.arange(len(labels_n))
    rival_nC = np.zeros(scores_KnC.shape[1:], dtype=bool)
    for scores_nC in scores_KnC:
        rival_nC |= scores_nC >= scores_nC[everyone, labels_n][:, None]
    rival_nC[everyone, labels_n] = False
    sample_R, rival_R = np.nonzero(rival_nC)
    return sample_R, rival_R


def _undominated(rows_RK: Floats, sample_R: Integers, tie_loses_R: Flags) -> tuple[Floats, Integers, Flags]:
    """Without the rows that another row of their sample implies.

    Only a row with a smaller sum can imply another, so the rows of a sample are sorted by sum and each survivor in
    turn, of all samples at once, strikes out the later ones that it implies.
    """
    order = np.lexsort((~tie_loses_R, rows_RK.sum(axis=1), sample_R))
    rows_RK, sample_R, tie_loses_R = rows_RK[order], sample_R[order], tie_loses_R[order]
    turn = 0
    while len(sample_R):
        first_R = np.searchsorted(sample_R, sample_R)
        judge_R = first_R + turn
        later = np.flatnonzero(judge_R < np.arange(len(sample_R)))
        if not len(later):
            break
        judge = judge_R[later]
        implied = (rows_RK[later] >= rows_RK[judge]).all(axis=1) & (tie_loses_R[judge] | ~tie_loses_R[later])
        if implied.any():
            kept = np.ones(len(sample_R), dtype=bool)
            kept[later[implied]] = False
            rows_RK, sample_R, tie_loses_R = rows_RK[kept], sample_R[kept], tie_loses_R[kept]
        turn += 1
    return rows_RK, sample_R, tie_loses_R
