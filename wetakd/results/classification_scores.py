"""Scores of a network's logits on labelled images: accuracy, macro accuracy, calibration error and log-loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from wetakd.results.statistics import FloatArray

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ClassificationScores:
    """How good a classifier is on one split."""

    accuracy: float
    macro_accuracy: float
    """Mean over the classes present of the accuracy within the class."""
    calibration_error: float
    """Expected calibration error over 15 equal-width bins of the top probability (Guo et al. 2017, equation 3)."""
    nll: float
    """Mean negative log-likelihood of the label, nats."""


def classification_scores(logits_NC: npt.NDArray[Any], labels_N: npt.NDArray[Any]) -> ClassificationScores:
    """Scores of `logits_NC` (any float) against integer `labels_N`; raises ValueError for no samples."""
    if len(labels_N) == 0 or len(logits_NC) != len(labels_N):
        raise ValueError(f"needs one label a sample and at least one: {len(logits_NC)} samples, {len(labels_N)} labels")
    log_probabilities_NC = special.log_softmax(np.asarray(logits_NC, dtype=np.float64), axis=1)
    correct_N = np.asarray(logits_NC).argmax(axis=1) == labels_N
    return ClassificationScores(
        accuracy=float(correct_N.mean()),
        macro_accuracy=float(np.mean([correct_N[labels_N == label].mean() for label in np.unique(labels_N)])),
        calibration_error=_calibration_error(np.exp(log_probabilities_NC.max(axis=1)), correct_N),
        nll=float(-log_probabilities_NC[np.arange(len(labels_N)), labels_N].mean()),
    )


def _calibration_error(confidence_N: FloatArray, correct_N: npt.NDArray[np.bool_]) -> float:
    bins_N = np.clip(np.ceil(confidence_N * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gap_B = np.bincount(bins_N, correct_N - confidence_N, minlength=CALIBRATION_BINS)
    return float(np.abs(gap_B).sum() / len(confidence_N))
