"""The arms of a study: its trials grouped by recipe, one arm a row of the report.

With a sweep each recipe is shown at the point that was best on `choose`, and contrasts compare recipes at each one's
own best point. Recipes whose students are the very same are marked, and count as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from wetakd.config import TEACHER, SweepPoint
from wetakd.config.controls import CONTROLS, DGKD, NO_DISTILLATION, SINGLE, TEACHER_ALONE
from wetakd.results import columns
from wetakd.results.display_names import recipe_label
from wetakd.results.statistics import Estimate, Pair, estimate, paired_difference
from wetakd.results.winner import arm_order, choose_winner, finished_trials


@dataclass(frozen=True, eq=False)
class ArmResult:
    """One recipe with its students, at one point."""

    strategy: str
    assistants: tuple[str, ...]
    point: SweepPoint
    students: tuple[Mapping[Any, Any], ...]
    """Rows of the finished ones, by replicate and seed."""
    num_failed: int
    num_stopped: int
    by_replicate: bool
    """Whether the study has several replicates, which are then the unit."""
    same_as: str | None = None
    """Label of an earlier arm that has the very same students."""

    @property
    def label(self) -> str:
        """Such as `DE ta8+ta6`."""
        return recipe_label(self.strategy, self.assistants)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key: the simplest recipe first."""
        return arm_order(self.strategy, self.assistants, self.point)

    def values(self, column: str) -> dict[Pair, float]:
        """A column of the finished students by (replicate, seed), without empty cells."""
        return {
            (int(row[columns.REPLICATE]), int(row[columns.SEED])): float(row[column])
            for row in self.students
            if not pd.isna(row[column])
        }

    def estimate(self, column: str) -> Estimate | None:
        """Mean of a column with its interval."""
        return estimate(self.values(column), by_replicate=self.by_replicate)

    def mean(self, column: str) -> float | None:
        """Mean of a column."""
        found = self.estimate(column)
        return None if found is None else found.mean

    def minus(self, other: ArmResult) -> Estimate | None:
        """Paired difference in test accuracy to another arm; None where they share no finished pair."""
        ours, theirs = self.values(columns.STUDENT_TEST_ACCURACY), other.values(columns.STUDENT_TEST_ACCURACY)
        return paired_difference(ours, theirs, by_replicate=self.by_replicate)

    @property
    def student_keys(self) -> tuple[tuple[int, int, str], ...]:
        """Which student stands at which (replicate, seed)."""
        return tuple(
            (int(row[columns.REPLICATE]), int(row[columns.SEED]), str(row[columns.STUDENT_KEY]))
            for row in self.students
        )

    def is_same_as(self, other: ArmResult) -> bool:
        """Whether both are the same students at every (replicate, seed)."""
        return bool(self.student_keys) and self.student_keys == other.student_keys


@dataclass(frozen=True)
class ArmResults:
    """Every recipe of a study at its best point, the simplest first."""

    best: tuple[ArmResult, ...]
    every_point: tuple[ArmResult, ...]
    by_replicate: bool

    def find(self, strategy: str, assistants: Sequence[str] = ()) -> ArmResult | None:
        """The arm of a strategy over a subset (in any order); of one network, whatever the strategy, its control."""
        wanted = frozenset(assistants)
        if len(wanted) == 1:
            strategy = TEACHER_ALONE if wanted == {TEACHER} else SINGLE
        for arm in self.best:
            if arm.strategy == strategy and (
                strategy in (NO_DISTILLATION, DGKD) or frozenset(arm.assistants) == wanted
            ):
                return arm
        return None

    def of(self, *strategies: str) -> list[ArmResult]:
        """The arms of these strategies."""
        return [arm for arm in self.best if arm.strategy in strategies]

    @property
    def strategies(self) -> list[str]:
        """Strategies (no controls) in the report's order."""
        return list(dict.fromkeys(arm.strategy for arm in self.best if arm.strategy not in CONTROLS))

    @property
    def has_points(self) -> bool:
        """Whether a sweep gave several points."""
        return len(self.every_point) > len(self.best)


def collect_arms(trials: pd.DataFrame) -> ArmResults:
    """Group the trials table into arms; the order of its rows does not matter."""
    trials = trials.reset_index(drop=True)
    by_replicate = trials[columns.REPLICATE].nunique() > 1
    done = set(finished_trials(trials).index)
    places: dict[tuple[str, tuple[str, ...], SweepPoint], list[Any]] = {}
    rows = trials.sort_values([columns.REPLICATE, columns.SEED], kind="stable").to_dict("index")
    for index, row in rows.items():
        place = (row[columns.STRATEGY], tuple(row[columns.ASSISTANTS]), SweepPoint.from_json(row[columns.POINT]))
        places.setdefault(place, []).append(index)
    every = sorted(
        (_arm(key, [(rows[i], i in done) for i in indices], by_replicate) for key, indices in places.items()),
        key=lambda arm: arm.order,
    )
    families: dict[tuple[str, tuple[str, ...]], list[ArmResult]] = {}
    for arm in every:
        families.setdefault((arm.strategy, arm.assistants), []).append(arm)
    return ArmResults(_marked([_best(family) for family in families.values()]), tuple(every), by_replicate)


def _arm(
    key: tuple[str, tuple[str, ...], SweepPoint], rows: Sequence[tuple[Mapping[Any, Any], bool]], by_replicate: bool
) -> ArmResult:
    """An arm of rows that are marked as finished or not."""
    failed = [not pd.isna(row[columns.ERROR]) and row[columns.ERROR] != "" for row, _ in rows]
    stopped = [not pd.isna(row[columns.STOPPED_AT_EPOCH]) for row, _ in rows]
    return ArmResult(
        *key,
        students=tuple(row for row, is_finished in rows if is_finished),
        num_failed=sum(failed),
        num_stopped=sum(early and not error for early, error in zip(stopped, failed, strict=True)),
        by_replicate=by_replicate,
    )


def _best(family: Sequence[ArmResult]) -> ArmResult:
    """The point of a recipe that was best on `choose`; the first where none was finished."""
    rows = [row for arm in family for row in arm.students]
    best = choose_winner(pd.DataFrame(rows)) if len(family) > 1 and rows else None
    return next((arm for arm in family if best and arm.point == best.point), family[0])


def _marked(arms: Sequence[ArmResult]) -> tuple[ArmResult, ...]:
    """The arms, each that repeats the students of an earlier one marked with its label."""
    first: dict[tuple[tuple[int, int, str], ...], str] = {}
    marked = []
    for arm in sorted(arms, key=lambda arm: arm.order):
        label = first.setdefault(arm.student_keys, arm.label) if arm.student_keys else arm.label
        marked.append(arm if label == arm.label else replace(arm, same_as=label))
    return tuple(marked)


def parameters_by_name(networks: pd.DataFrame) -> Mapping[str, int]:
    """Parameters of every network by name."""
    known = networks[[columns.NAME, columns.PARAMETERS]].dropna()
    return {str(name): int(parameters) for name, parameters in known.itertuples(index=False, name=None)}
