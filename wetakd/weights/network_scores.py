"""The input: what K networks say about N labelled samples, checked once and read chunk by chunk as float64."""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from wetakd.common.errors import UserError

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
ScoreKind = Literal["probabilities", "logits"]

MAX_NETWORKS = 64
"""Beyond it the rounding of a K-term float64 sum could reach the guard that decides ties,
`exact_accuracy_build.TIE_GUARD`."""

CHUNK_ELEMENTS = 1 << 18
"""Scores read at once: 2 MB as float64, so that a chunk stays in the cache while it is worked on."""

LARGEST_LOGIT = 1e30
"""Over the temperature. Larger ones come of a diverged network, and overflow when they are squared."""


class NetworkScores:
    """Scores of K networks on N samples and C classes, never copied as a whole and never written to.

    Iterating gives `(samples, labels_n, scores_KnC)`: a slice of the samples, their labels, and the float64 (or, where
    that loses nothing, float32) scores that the mixture averages: probabilities, softmaxed at `temperature` if logits
    came in, or logits divided by `temperature`.
    """

    def __init__(
        self, scores_KNC: Any, labels_N: Any, *, scores_are: ScoreKind, temperature: float, mixture: ScoreKind
    ):
        self.scores_KNC = _checked_shape(scores_KNC)
        self.labels_N = _checked_labels(labels_N, self.scores_KNC.shape)
        self.index_N: Integers | None = None
        for field, kind in (("scores_are", scores_are), ("mixture", mixture)):
            check_choice(field, kind, get_args(ScoreKind))
        self.scores_are, self.mixture, self.temperature = scores_are, mixture, float(temperature)
        if not 0 < self.temperature < np.inf:
            raise UserError(f"temperature: {temperature!r} is not a finite number above 0")
        if scores_are == "probabilities" and (mixture == "logits" or self.temperature != 1.0):
            raise UserError("mixture='logits' and a temperature other than 1 need scores_are='logits'")
        for samples, scores_KnC in self._raw_chunks():
            _check_score_values(scores_KnC, scores_are, self.temperature, samples.start)
        self.identical_networks = _identical_networks(self.scores_KNC, self.labels_N)

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.labels_N)

    def subset(self, index_n: Integers) -> Self:
        """The same networks on the samples `index_n`; nothing is copied or checked again."""
        part = copy(self)
        part.labels_N = self.labels_N[index_n]
        part.index_N = index_n if self.index_N is None else self.index_N[index_n]
        return part

    def _raw_chunks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        num_at_once = max(1, CHUNK_ELEMENTS // self.scores_KNC[:, 0].size)
        for start in range(0, self.num_samples, num_at_once):
            samples = slice(start, start + num_at_once)
            raw_KnC = self.scores_KNC[:, samples if self.index_N is None else self.index_N[samples]]
            # float32 holds every float16, and ranks and margins of float32 scores are taken after a cast to float64.
            yield samples, raw_KnC.astype(np.float32) if raw_KnC.dtype == np.float16 else raw_KnC

    def __iter__(self) -> Iterator[tuple[slice, Integers, NDArray[Any]]]:
        for samples, scores_KnC in self._raw_chunks():
            if self.scores_are == "logits" and (self.mixture == "probabilities" or self.temperature != 1.0):
                scores_KnC = np.divide(scores_KnC, self.temperature, dtype=np.float64)
            if self.scores_are != self.mixture:
                softmax(scores_KnC)
            yield samples, self.labels_N[samples], scores_KnC


def scores_of_class(scores_XnC: NDArray[Any], labels_n: Integers) -> NDArray[Any]:
    """Of each sample the score of one class, [..., n]."""
    return scores_XnC[..., np.arange(len(labels_n)), labels_n]


def softmax(logits_XC: Floats) -> Floats:
    """Softmax over the last axis, in place."""
    logits_XC -= logits_XC.max(axis=-1, keepdims=True)
    np.exp(logits_XC, out=logits_XC)
    logits_XC /= logits_XC.sum(axis=-1, keepdims=True)
    return logits_XC


def mix_scores(scores_KnC: NDArray[Any], weights_K: Floats) -> Floats:
    """The weighted sum over the networks, [n, C], one by one in float64: nothing is copied as a whole."""
    mixed_nC = np.zeros(scores_KnC.shape[1:])
    for weight, scores_nC in zip(weights_K.tolist(), scores_KnC, strict=True):
        mixed_nC += np.multiply(scores_nC, weight, dtype=np.float64)
    return mixed_nC


def check_choice(field: str, value: str, known: Sequence[str]) -> None:
    """Raises `UserError` where the value is none of the known ones."""
    if value not in known:
        raise UserError(f"{field}: {value!r} is none of {', '.join(known)}")


def _checked_shape(given: Any) -> NDArray[Any]:
    scores_KNC: NDArray[Any] = np.asanyarray(given)
    shape, dtype = scores_KNC.shape, scores_KNC.dtype
    if len(shape) != 3 or dtype.kind not in "fiu":
        raise UserError(f"scores: {dtype} of shape {shape}, not numbers of shape (networks, samples, classes)")
    if 0 in shape or shape[2] < 2:
        raise UserError(f"scores: shape {shape}, at least one network, one sample and two classes are needed")
    if shape[0] > MAX_NETWORKS:
        raise UserError(f"scores: {shape[0]} networks, counts are proven exact up to {MAX_NETWORKS}")
    return scores_KNC if dtype in (np.float16, np.float32) else scores_KNC.astype(np.float64, copy=False)


def _checked_labels(given: Any, shape: tuple[int, ...]) -> Integers:
    labels_N: Integers = np.asanyarray(given)
    _, num_samples, num_classes = shape
    if labels_N.dtype.kind not in "iu":
        raise UserError(f"labels: {labels_N.dtype}, not integers")
    if labels_N.shape != (num_samples,):
        raise UserError(f"labels: shape {labels_N.shape}, scores of shape {shape} need ({num_samples},)")
    outside = np.flatnonzero((labels_N < 0) | (labels_N >= num_classes))
    if len(outside):
        named = f"{labels_N[outside[0]]} at sample {outside[0]}"
        raise UserError(f"labels: {named}, scores of {num_classes} classes need 0 to {num_classes - 1}")
    return labels_N.astype(np.intp, copy=False)


def _check_score_values(scores_KnC: NDArray[Any], scores_are: ScoreKind, temperature: float, start: int) -> None:
    low, high = float(scores_KnC.min()), float(scores_KnC.max())
    limit = LARGEST_LOGIT * temperature
    if not max(-low, high) <= limit:
        network, sample, label = np.argwhere(~(abs(scores_KnC) <= np.float64(limit)))[0]
        named = f"{scores_KnC[network, sample, label]} at network {network}, sample {start + sample}, class {label}"
        raise UserError(f"scores: {named}; must be finite, at most {LARGEST_LOGIT:g} times the temperature")
    if scores_are == "logits":
        return
    if low < 0 or high > 1 + 1e-3:
        raise UserError(f"scores: {low if low < 0 else high:.4g} is no probability; are these logits?")
    sums_Kn = scores_KnC.sum(axis=2)
    if abs(sums_Kn - 1).max() > 1e-2:
        network, sample = np.unravel_index(abs(sums_Kn - 1).argmax(), sums_Kn.shape)
        named = f"network {network}, sample {start + sample}"
        raise UserError(f"scores: {named}: they sum to {sums_Kn[network, sample]:.4g}, not 1")


def _identical_networks(scores_KNC: NDArray[Any], labels_N: Integers) -> list[tuple[int, int]]:
    """Networks that say the same about every sample as an earlier one, which comes first in the pair."""
    true_KN = scores_of_class(scores_KNC, labels_N)
    pairs = []
    for later in range(1, len(true_KN)):
        alike = np.flatnonzero((true_KN[:later] == true_KN[later]).all(axis=1))
        pairs += [(int(k), later) for k in alike if np.array_equal(scores_KNC[k], scores_KNC[later])][:1]
    return pairs


def checked_weights(given: Any, num_networks: int) -> Floats:
    """Weights as float64 on the simplex.

    Raises:
        UserError: they are not K finite non-negative numbers with a positive sum.
    """
    weights_K: Floats = np.asarray(given, dtype=np.float64)
    if weights_K.shape != (num_networks,):
        raise UserError(f"weights: shape {weights_K.shape}, {num_networks} networks need ({num_networks},)")
    if not (weights_K.min() >= 0 and 0 < weights_K.sum() < np.inf):
        raise UserError(f"weights: {weights_K.tolist()} are not non-negative numbers with a positive sum")
    return weights_K if weights_K.sum() == 1.0 else weights_K / weights_K.sum()
