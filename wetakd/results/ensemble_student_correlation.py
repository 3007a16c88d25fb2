"""Rank correlation of an ensemble's quality on `choose` with the test accuracy of the students it taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wetakd.config.controls import FIXED_TEACHERS
from wetakd.results import columns
from wetakd.results.arms import ArmResult, ArmResults
from wetakd.results.rank_correlation import RankCorrelation, rank_correlation

# Fewer recipes over one subset than this say nothing about ranks.
_LEAST_RECIPES = 4


@dataclass(frozen=True)
class EnsembleStudentCorrelation:
    """How well the ensemble's quality on `choose` ranks the students it taught, recipes with the same students once."""

    where: tuple[str, ...]
    """The subset within which recipes are ranked; empty: all recipes over the pool's assistants."""
    measure: str
    """`accuracy` or `log-loss` of the ensemble; a positive rank correlation always means better teaches better."""
    correlation: RankCorrelation

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {"where": list(self.where), "measure": self.measure} | self.correlation.to_dict()


def arms_with_ensembles(arms: ArmResults) -> list[ArmResult]:
    """The distinct arms whose teachers are an ensemble from the pool: strategies, and the control `single`."""
    return [arm for arm in arms.best if arm.same_as is None and arm.strategy not in FIXED_TEACHERS]


def ensemble_student_correlations(arms: ArmResults) -> list[EnsembleStudentCorrelation]:
    """Over all recipes, and within each subset of assistants that has enough of them."""
    distinct = arms_with_ensembles(arms)
    subsets = dict.fromkeys(arm.assistants for arm in distinct)
    places: list[tuple[tuple[str, ...], list[ArmResult]]] = [((), distinct)]
    places += [(subset, [arm for arm in distinct if arm.assistants == subset]) for subset in reversed(subsets)]
    found = [
        EnsembleStudentCorrelation(where, measure, correlation)
        for where, some in places
        if len(some) >= _LEAST_RECIPES
        for measure in ("accuracy", "log-loss")
        if (correlation := _ranks(some, measure)) is not None
    ]
    # With one subset, "all recipes" and "within it" are one statement.
    return found if len(subsets) > 1 else [relation for relation in found if not relation.where]


def ensemble_student_pairs(arms: Sequence[ArmResult], measure: str) -> list[tuple[ArmResult, float, float]]:
    """Arms with their ensemble's quality on `choose` (`accuracy`, or minus the log-loss) and mean student accuracy."""
    column, sign = (columns.ENSEMBLE_CHOOSE_ACCURACY, 1) if measure == "accuracy" else (columns.ENSEMBLE_CHOOSE_NLL, -1)
    known = [(arm, arm.mean(column), arm.mean(columns.STUDENT_TEST_ACCURACY)) for arm in arms]
    # Means over seeds of equal numbers differ in the last bit; ranks must not.
    return [
        (arm, round(sign * quality, 12), round(accuracy, 12))
        for arm, quality, accuracy in known
        if quality is not None and accuracy is not None
    ]


def _ranks(arms: Sequence[ArmResult], measure: str) -> RankCorrelation | None:
    known = ensemble_student_pairs(arms, measure)
    return rank_correlation([quality for _, quality, _ in known], [accuracy for _, _, accuracy in known])
