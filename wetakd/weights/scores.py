"""The input: what K networks say about N labelled samples, checked once and read chunk by chunk as float64."""

from collections.abc import Iterator
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from wetakd.errors import UserError

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Kind = Literal["probabilities", "logits"]

KINDS: tuple[Kind, ...] = ("probabilities", "logits")
MAX_NETWORKS = 64
"""Beyond it the rounding of a K-term float64 sum could reach the guard that decides ties (`margins.TIE_GUARD`)."""

CHUNK_ELEMENTS = 1 << 18
"""Scores read at once: 2 MB as float64, so that a chunk stays in the cache while it is worked on."""

SMALLEST_PROBABILITY = 1e-30
"""Floor of a true-class probability, so that one sample can't make a log-loss infinite."""


class Scores:
    """Scores of K networks on N samples and C classes, never copied as a whole and never written to.

    Iterating gives `(samples, scores_KnC)`: a slice of the samples and the float64 (or, where that loses nothing,
    float32) scores that the mixture averages: probabilities, softmaxed at `temperature` if logits came in, or logits
    divided by `temperature`.
    """

    def __init__(self, scores_KNC: Any, labels_N: Any, *, scores_are: Kind, temperature: float, mixture: Kind):
        self.scores_KNC = _checked_shape(scores_KNC)
        self.labels_N = _checked_labels(labels_N, self.scores_KNC.shape)
        self.scores_are: Kind = _checked_choice("scores_are", scores_are)
        self.mixture: Kind = _checked_choice("mixture", mixture)
        self.temperature = float(temperature)
        self.index_N: Integers | None = None
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise UserError(f"temperature: {temperature!r} is not a finite number above 0")
        if scores_are == "probabilities" and (mixture == "logits" or self.temperature != 1.0):
            raise UserError("mixture='logits' and a temperature other than 1 need scores_are='logits'")
        for samples, scores_KnC in self._raw_chunks():
            _check_values(scores_KnC, scores_are, samples.start)

    @property
    def num_networks(self) -> int:
        """K."""
        return int(self.scores_KNC.shape[0])

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.labels_N)

    @property
    def num_classes(self) -> int:
        """C."""
        return int(self.scores_KNC.shape[2])

    def subset(self, index_n: Integers) -> Self:
        """The same networks on the samples `index_n`; nothing is copied or checked again."""
        part = object.__new__(type(self))
        part.__dict__.update({name: value for name, value in vars(self).items() if name != "true_NK"})
        part.labels_N = self.labels_N[index_n]
        part.index_N = index_n if self.index_N is None else self.index_N[index_n]
        if "true_NK" in vars(self):
            part.true_NK = self.true_NK[index_n]
        return part

    def _raw_chunks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        num_at_once = max(1, CHUNK_ELEMENTS // (self.num_networks * self.num_classes))
        for start in range(0, self.num_samples, num_at_once):
            samples = slice(start, min(start + num_at_once, self.num_samples))
            raw_KnC = self.scores_KNC[:, samples if self.index_N is None else self.index_N[samples]]
            # float32 holds every float16, and ranks and margins of float32 scores are taken after a cast to float64.
            yield samples, raw_KnC.astype(np.float32) if raw_KnC.dtype == np.float16 else raw_KnC

    def __iter__(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        for samples, raw_KnC in self._raw_chunks():
            if self.scores_are == "probabilities":
                yield samples, raw_KnC
            elif self.mixture == "logits":
                yield samples, raw_KnC if self.temperature == 1.0 else np.divide(raw_KnC, self.temperature, dtype=float)
            else:
                yield samples, softmax(np.divide(raw_KnC, self.temperature, dtype=np.float64))

    @cached_property
    def true_NK(self) -> Floats:
        """Each network's score of the true class, [N, K]: all that a probability mixture's log-loss depends on."""
        true_NK = np.empty((self.num_samples, self.num_networks))
        for samples, scores_KnC in self:
            labels_n = self.labels_N[samples]
            true_NK[samples] = scores_KnC[:, np.arange(len(labels_n)), labels_n].T
        return true_NK

    @cached_property
    def identical_networks(self) -> list[tuple[int, int]]:
        """Pairs of networks that say the same about every sample."""
        true_KN = self.scores_KNC[:, np.arange(self.num_samples), self.labels_N]
        alike = [(i, j) for i, j in combinations(range(len(true_KN)), 2) if np.array_equal(true_KN[i], true_KN[j])]
        return [(i, j) for i, j in alike if np.array_equal(self.scores_KNC[i], self.scores_KNC[j])]


def softmax(logits_XC: Floats) -> Floats:
    """Softmax over the last axis, in place."""
    logits_XC -= logits_XC.max(axis=-1, keepdims=True)
    np.exp(logits_XC, out=logits_XC)
    logits_XC /= logits_XC.sum(axis=-1, keepdims=True)
    return logits_XC


def mixed(scores_KnC: NDArray[Any], weights_K: Floats) -> Floats:
    """The weighted sum over the networks, [n, C], one by one in float64: nothing is copied as a whole."""
    mixed_nC = np.zeros(scores_KnC.shape[1:])
    for weight, scores_nC in zip(weights_K.tolist(), scores_KnC, strict=True):
        mixed_nC += np.multiply(scores_nC, weight, dtype=np.float64)
    return mixed_nC


def _checked_choice(field: str, value: Kind) -> Kind:
    if value not in KINDS:
        raise UserError(f"{field}: {value!r} is neither 'probabilities' nor 'logits'")
    return value


def _checked_shape(given: Any) -> NDArray[Any]:
    scores_KNC: NDArray[Any] = np.asanyarray(given)
    if scores_KNC.ndim != 3 or scores_KNC.dtype.kind not in "fiu":
        raise UserError(
            f"scores: {scores_KNC.dtype} of shape {scores_KNC.shape}, not numbers of shape (networks, samples, classes)"
        )
    num_networks, num_samples, num_classes = scores_KNC.shape
    if num_networks == 0 or num_samples == 0 or num_classes < 2:
        raise UserError(
            f"scores: shape {scores_KNC.shape}, at least one network, one sample and two classes are needed"
        )
    if num_networks > MAX_NETWORKS:
        raise UserError(f"scores: {num_networks} networks, counts are proven exact up to {MAX_NETWORKS}")
    return scores_KNC if scores_KNC.dtype in (np.float16, np.float32) else scores_KNC.astype(np.float64, copy=False)


def _checked_labels(given: Any, shape: tuple[int, ...]) -> Integers:
    labels_N: Integers = np.asanyarray(given)
    if labels_N.dtype.kind not in "iu":
        raise UserError(f"labels: {labels_N.dtype}, not integers")
    if labels_N.shape != (shape[1],):
        raise UserError(f"labels: shape {labels_N.shape}, scores of shape {shape} need ({shape[1]},)")
    if labels_N.min() < 0 or labels_N.max() >= shape[2]:
        bad = int(np.flatnonzero((labels_N < 0) | (labels_N >= shape[2]))[0])
        raise UserError(
            f"labels: {labels_N[bad]} at sample {bad}, scores of {shape[2]} classes need 0 to {shape[2] - 1}"
        )
    return labels_N.astype(np.intp, copy=False)


def _check_values(scores_KnC: NDArray[Any], scores_are: Kind, start: int) -> None:
    low, high = float(scores_KnC.min()), float(scores_KnC.max())
    if not np.isfinite([low, high]).all():
        network, sample, label = np.argwhere(~np.isfinite(scores_KnC))[0]
        value = scores_KnC[network, sample, label]
        raise UserError(f"scores: {value} at network {network}, sample {start + sample}, class {label}; must be finite")
    if scores_are == "logits":
        return
    if low < 0 or high > 1 + 1e-3:
        raise UserError(f"scores: {low if low < 0 else high:.4g} is no probability; are these logits?")
    sums_Kn = scores_KnC.sum(axis=2)
    if abs(sums_Kn - 1).max() > 1e-2:
        network, sample = np.unravel_index(abs(sums_Kn - 1).argmax(), sums_Kn.shape)
        raise UserError(
            f"scores: network {network}, sample {start + sample}: they sum to {sums_Kn[network, sample]:.4g}, not 1"
        )


def checked_weights(given: Any, num_networks: int) -> Floats:
    """Weights as float64 on the simplex.

    Raises:
        UserError: they are not K finite non-negative numbers with a positive sum.
    """
    weights_K: Floats = np.asarray(given, dtype=np.float64)
    if weights_K.shape != (num_networks,):
        raise UserError(f"weights: shape {weights_K.shape}, {num_networks} networks need ({num_networks},)")
    if not np.isfinite(weights_K).all() or weights_K.min() < 0 or weights_K.sum() == 0:
        raise UserError(f"weights: {weights_K.tolist()} are not non-negative numbers with a positive sum")
    return weights_K if weights_K.sum() == 1.0 else weights_K / weights_K.sum()
