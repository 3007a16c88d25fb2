"""What is recorded with the evaluation of a student on the test images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

from wetakd.results.classification_scores import ClassificationScores
from wetakd.storage.manifest import Manifest


@dataclass(frozen=True)
class EvaluationFacts:
    """The facts of an evaluation, in its manifest. Their names are columns of the trials."""

    student_test_accuracy: float
    student_test_macro_accuracy: float
    student_test_calibration_error: float
    student_test_nll: float

    @classmethod
    def of(cls, scores: ClassificationScores) -> Self:
        """The scores of a student on the test images."""
        return cls(scores.accuracy, scores.macro_accuracy, scores.calibration_error, scores.nll)

    def to_dict(self) -> dict[str, float]:
        """As a manifest keeps them."""
        return asdict(self)

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Self:
        """The reverse of `to_dict`."""
        return cls(**manifest.facts)
