"""From all scores to the few rows that decide the accuracy (see `exact_accuracy` for what a row is).

For weights >= 0, not all 0, most rows never matter:

- a row without a negative entry never fails (it covers every sample that all networks get right);
- a sample with a row without a positive entry is wrong under any weights, even where the networks disagree;
- a row that is entry by entry at least another row of its sample is implied by it.

All three look at ranks only, so they are exact.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wetakd.weights.exact_accuracy import AccuracyRows, Flags
from wetakd.weights.network_scores import Floats, Integers, NetworkScores, scores_of_class

TIE_GUARD = 2.0**-46
"""Rows are scaled to a largest entry in [1/2, 1) (by powers of two: exact) and shifted by this much, down where a tie
loses and up where it wins, so that the sign alone decides. Above the rounding of a 64-term float64 sum; a margin
smaller than this part of its row counts as a tie."""


def build_accuracy_rows(scores: NetworkScores) -> AccuracyRows:
    """One pass over the scores, chunk by chunk."""
    always_wrong_N = np.zeros(scores.num_samples, dtype=bool)
    rows, samples_of_rows = [], []
    for samples, labels_n, scores_KnC in scores:
        rows_RK, sample_R, always_wrong_N[samples] = _compile_chunk(scores_KnC, labels_n)
        rows.append(rows_RK)
        samples_of_rows.append(sample_R + samples.start)
    return AccuracyRows(np.concatenate(rows), np.concatenate(samples_of_rows), always_wrong_N)


def _compile_chunk(scores_KnC: NDArray[Any], labels_n: Integers) -> tuple[Floats, Integers, Flags]:
    sample_R, rival_R = _rivals(scores_KnC, labels_n)
    true_RK = scores_KnC[:, sample_R, labels_n[sample_R]].T.astype(np.float64)
    rows_RK = true_RK - scores_KnC[:, sample_R, rival_R].T
    tie_loses_R = rival_R < labels_n[sample_R]
    fails_RK = np.where(tie_loses_R[:, None], rows_RK <= 0, rows_RK < 0)
    always_wrong_n = np.zeros(len(labels_n), dtype=bool)
    always_wrong_n[sample_R[fails_RK.all(axis=1)]] = True
    matters_R = fails_RK.any(axis=1) & ~always_wrong_n[sample_R]
    rows_RK, sample_R, tie_loses_R = _undominated(rows_RK[matters_R], sample_R[matters_R], tie_loses_R[matters_R])
    _, exponent_R = np.frexp(abs(rows_RK).max(axis=1))
    rows_RK = np.ldexp(rows_RK, -exponent_R[:, None])
    rows_RK += np.where(tie_loses_R, -TIE_GUARD, TIE_GUARD)[:, None]
    return rows_RK, sample_R, always_wrong_n


def _rivals(scores_KnC: NDArray[Any], labels_n: Integers) -> tuple[Integers, Integers]:
    """Samples and classes where some network scores the class at least as high as the label."""
    rival_nC = np.zeros(scores_KnC.shape[1:], dtype=bool)
    for scores_nC in scores_KnC:
        rival_nC |= scores_nC >= scores_of_class(scores_nC, labels_n)[:, None]
    rival_nC[np.arange(len(labels_n)), labels_n] = False
    sample_R, rival_R = np.nonzero(rival_nC)
    return sample_R, rival_R


def _undominated(rows_RK: Floats, sample_R: Integers, tie_loses_R: Flags) -> tuple[Floats, Integers, Flags]:
    """Without the rows that another row of their sample implies.

    Only a row with a smaller sum can imply another, so the rows of a sample are sorted by sum and each survivor in
    turn, of all samples at once, strikes out the later ones that it implies.
    """
    order = np.lexsort((~tie_loses_R, rows_RK.sum(axis=1), sample_R))
    turn = 0
    while True:
        rows_RK, sample_R, tie_loses_R = rows_RK[order], sample_R[order], tie_loses_R[order]
        judge_R = np.searchsorted(sample_R, sample_R) + turn
        later = np.flatnonzero(judge_R < np.arange(len(sample_R)))
        if not len(later):
            return rows_RK, sample_R, tie_loses_R
        judge = judge_R[later]
        implied = (rows_RK[later] >= rows_RK[judge]).all(axis=1) & (tie_loses_R[judge] | ~tie_loses_R[later])
        order = np.delete(np.arange(len(sample_R)), later[implied])
        turn += 1
