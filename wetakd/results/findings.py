"""What the tables of a study amount to, as numbers: the arms, the contrasts, and what the assistants add.

Words and pictures are made from this elsewhere; every number here can be recomputed from the study's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from wetakd.results import columns
from wetakd.results.arm_rows import ArmRow, arm_row
from wetakd.results.arms import ArmResults, collect_arms, parameters_by_name
from wetakd.results.assistant_contributions import AssistantContribution, assistant_contributions
from wetakd.results.contrasts import Contrast, CountRow, accuracy_by_count, compute_contrasts, main_strategy
from wetakd.results.ensemble_student_correlation import EnsembleStudentCorrelation, ensemble_student_correlations
from wetakd.results.failure_counts import Failures, find_failures
from wetakd.results.stored_results import Results


@dataclass(frozen=True)
class Findings:
    """All that a report says, before it is said."""

    results: Results
    arms: ArmResults
    rows: tuple[ArmRow, ...]
    contrasts: tuple[Contrast, ...]
    counts: tuple[CountRow, ...]
    correlations: tuple[EnsembleStudentCorrelation, ...]
    contributions: tuple[AssistantContribution, ...]
    num_replicates: int
    num_seeds: int

    @property
    def primary(self) -> Contrast | None:
        """The declared contrast, where there is one."""
        return next((contrast for contrast in self.contrasts if contrast.topic == "primary"), None)

    @property
    def main_strategy(self) -> str | None:
        """The strategy that is shown in detail; None where only controls were compared."""
        return main_strategy(self.arms, self.results.primary)

    @cached_property
    def failures(self) -> Failures:
        """What failed, each network and each distinct student once."""
        return find_failures(self.results.trials, self.results.networks)

    @property
    def errors(self) -> Mapping[str, int]:
        """Number of trials (rows of the table) without a student, by the text in their column `error`."""
        column = self.results.trials[columns.ERROR]
        return {str(text): int(num) for text, num in column[column.notna() & (column != "")].value_counts().items()}

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values; accuracies and differences in shares of 1.

        `errors` counts trials, several of which may share a student; `failures` counts networks and distinct students.
        """
        costs = {
            "teacher": self.results.teacher_cost and asdict(self.results.teacher_cost),
            "student": asdict(self.results.student_cost),
        }
        return {
            "study": self.results.study,
            "num_replicates": self.num_replicates,
            "num_seeds": self.num_seeds,
            "winner": self.results.winner.to_dict() if self.results.winner else None,
            "costs": costs,
            "spending": asdict(self.results.spending),
            "arms": [row.to_dict() for row in self.rows],
            "contrasts": [contrast.to_dict() for contrast in self.contrasts],
            "counts": [row.to_dict() for row in self.counts],
            "proxies": [relation.to_dict() for relation in self.correlations],
            "contributions": [contribution.to_dict() for contribution in self.contributions],
            "errors": dict(self.errors),
            "failures": self.failures.to_dict(),
        }


def compute_findings(results: Results) -> Findings:
    """Work out everything from the tables; the order of their rows does not matter."""
    arms = collect_arms(results.trials)
    sizes = parameters_by_name(results.networks)
    strategies = dict.fromkeys([*(results.primary or ()), *arms.strategies])
    return Findings(
        results=results,
        arms=arms,
        rows=tuple(arm_row(arm, arms, results, sizes) for arm in arms.best),
        contrasts=tuple(compute_contrasts(arms, results.primary, results.pool)),
        counts=tuple(
            row for s in strategies if s in arms.strategies for row in accuracy_by_count(arms, s, results.pool)
        ),
        correlations=tuple(ensemble_student_correlations(arms)),
        contributions=tuple(assistant_contributions(arms, results, sizes)),
        num_replicates=int(results.trials[columns.REPLICATE].nunique()),
        num_seeds=int(results.trials[columns.SEED].nunique()),
    )
