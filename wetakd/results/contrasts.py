"""The comparisons that the verdict rests on: the declared one first, the rest corrected as one family (Holm).

All are paired differences of student test accuracy over the same seeds, between recipes at their own best points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wetakd.common.strategy_names import DE, RANDOM, UNIFORM
from wetakd.config.controls import DGKD, NO_DISTILLATION, SINGLE, TEACHER_ALONE
from wetakd.results import columns
from wetakd.results.arms import ArmResult, ArmResults
from wetakd.results.display_names import display_name
from wetakd.results.statistics import Estimate, Pair, estimate, holm

SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class Contrast:
    """One recipe against another."""

    topic: str
    """`primary`, `strategy`, `random`, `control` or `count`."""
    name: str
    """Such as `DE against uniform over ta8+ta6+ta4`."""
    better: str
    """What a positive difference speaks for."""
    worse: str
    difference: Estimate | None
    """In shares of 1; None where it could not be made."""
    why_not: str | None = None
    corrected_p: float | None = None
    """The primary's own p; of the others, corrected over all of them."""

    @property
    def is_significant(self) -> bool:
        """Whether the difference is told from zero at 5 %, after correction."""
        return self.corrected_p is not None and self.corrected_p < SIGNIFICANCE_LEVEL

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {
            "topic": self.topic,
            "name": self.name,
            "difference": self.difference.to_dict() if self.difference else None,
            "why_not": self.why_not,
            "corrected_p": self.corrected_p,
            "shown": self.is_significant,
        }


@dataclass(frozen=True)
class CountRow:
    """What `count` assistants give under one strategy, and what they add to fewer within nested subsets."""

    strategy: str
    count: int
    num_subsets: int
    accuracy: Estimate | None
    against: int | None
    """The smaller count, the nearest with nested subsets; None for the smallest."""
    gain: Estimate | None
    """Mean over all nested pairs of subsets (smaller within larger) of the paired difference."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {
            "strategy": self.strategy,
            "count": self.count,
            "num_subsets": self.num_subsets,
            "accuracy": self.accuracy.to_dict() if self.accuracy else None,
            "against": self.against,
            "gain": self.gain.to_dict() if self.gain else None,
        }


def main_strategy(arms: ArmResults, primary: tuple[str, str] | None) -> str | None:
    """The strategy that is shown in detail: of the declared contrast, else the first one that is not `uniform`."""
    if primary is not None:
        return primary[0]
    return next((strategy for strategy in arms.strategies if strategy != UNIFORM), next(iter(arms.strategies), None))


def _baseline(arms: ArmResults, primary: tuple[str, str] | None) -> str | None:
    """What the other strategies are compared with."""
    if primary is not None:
        return primary[1]
    return UNIFORM if UNIFORM in arms.strategies else None


def compute_contrasts(arms: ArmResults, primary: tuple[str, str] | None, pool: Sequence[str]) -> list[Contrast]:
    """The declared contrast, where there is one, and then the secondary ones, corrected."""
    secondary = _corrected(_secondary(arms, primary, pool))
    if primary is None:
        return secondary
    declared = _strategy_contrast(arms, "primary", *primary, pool)
    declared = replace(declared, corrected_p=declared.difference.p_value if declared.difference else None)
    return [declared, *secondary]


def _secondary(arms: ArmResults, primary: tuple[str, str] | None, pool: Sequence[str]) -> list[Contrast]:
    found = []
    main, baseline = main_strategy(arms, primary), _baseline(arms, primary)
    if primary != (DE, RANDOM) and {DE, RANDOM} <= set(arms.strategies):
        found.append(_strategy_contrast(arms, "random", DE, RANDOM, pool))
    if baseline is not None:
        others = [strategy for strategy in arms.strategies if strategy not in (primary or (baseline,))]
        found += [_strategy_contrast(arms, "strategy", strategy, baseline, pool) for strategy in others]
    if main is None:
        return found
    found += _against_controls(arms, main, pool)
    rows = accuracy_by_count(arms, main, pool)
    return found + [_count_contrast(row) for row in rows if row.against is not None]


def _corrected(found: Sequence[Contrast]) -> list[Contrast]:
    p_values = [c.difference.p_value for c in found if c.difference and c.difference.p_value is not None]
    corrected = iter(holm(p_values))
    return [
        replace(c, corrected_p=next(corrected)) if c.difference and c.difference.p_value is not None else c
        for c in found
    ]


def _strategy_contrast(arms: ArmResults, topic: str, first: str, second: str, pool: Sequence[str]) -> Contrast:
    better, worse = display_name(first), display_name(second)
    name = f"{better} against {worse} over {'+'.join(pool)}"
    if len(pool) < 2:
        return Contrast(topic, name, better, worse, None, "one assistant leaves nothing to weigh")
    return _contrast(topic, name, arms.find(first, pool), arms.find(second, pool), better, worse)


def _against_controls(arms: ArmResults, strategy: str, pool: Sequence[str]) -> list[Contrast]:
    main = arms.find(strategy, pool)
    if main is None:
        return []
    controls = [*arms.of(NO_DISTILLATION), *arms.of(TEACHER_ALONE), *best_single(arms, pool), *arms.of(DGKD)]
    return [
        _contrast("control", f"{main.label} against {control_name(control)}", main, control, main.label, control.label)
        for control in controls
        if (control.strategy, control.assistants) != (main.strategy, main.assistants)
    ]


def control_name(control: ArmResult) -> str:
    """A control as a sentence names it."""
    names: Mapping[str, str] = {
        NO_DISTILLATION: "no distillation",
        TEACHER_ALONE: "the teacher alone",
        SINGLE: f"the best single assistant on `choose` ({'+'.join(control.assistants)})",
        DGKD: "teacher and all assistants, evenly mixed (DGKD-style)",
    }
    return names.get(control.strategy, control.label)


def best_single(arms: ArmResults, pool: Sequence[str]) -> list[ArmResult]:
    """The single assistant of the pool whose students are best on `choose` (none, or one)."""
    known = [(arm.mean(columns.STUDENT_CHOOSE_ACCURACY), arm) for arm in arms.of(SINGLE) if arm.assistants[0] in pool]
    ranked = sorted((-mean, arm.order, arm) for mean, arm in known if mean is not None)
    return [arm for _, _, arm in ranked[:1]]


def _contrast(
    topic: str, name: str, first: ArmResult | None, second: ArmResult | None, better: str, worse: str
) -> Contrast:
    difference, why_not = None, None
    if first is None or second is None:
        why_not = f"{better if first is None else worse} was not run"
    elif first.is_same_as(second):
        why_not = "both are the very same students"
    else:
        difference = first.minus(second)
        why_not = None if difference else "no seed has a finished student of both"
    return Contrast(topic, name, better, worse, difference, why_not)


def _count_contrast(row: CountRow) -> Contrast:
    name = f"{row.count} against {row.against} assistants under {display_name(row.strategy)}"
    why_not = None if row.gain else "no seed has finished students of both"
    return Contrast("count", name, str(row.count), str(row.against), row.gain, why_not)


def accuracy_by_count(arms: ArmResults, strategy: str, pool: Sequence[str]) -> list[CountRow]:
    """Each count of assistants under a strategy, the smallest first; one assistant is the control of its name."""
    by_count: dict[int, dict[frozenset[str], ArmResult]] = {}
    for arm in arms.best:
        single = len(arm.assistants) == 1 and arm.strategy in (SINGLE, TEACHER_ALONE)
        if (arm.strategy == strategy or single) and set(arm.assistants) <= set(pool):
            by_count.setdefault(len(arm.assistants), {})[frozenset(arm.assistants)] = arm
    return [_count_row(strategy, count, by_count, arms.by_replicate) for count in sorted(by_count)]


def _count_row(
    strategy: str, count: int, by_count: dict[int, dict[frozenset[str], ArmResult]], by_replicate: bool
) -> CountRow:
    accuracy = _mean_by_pair([arm.values(columns.STUDENT_TEST_ACCURACY) for arm in by_count[count].values()])
    against: int | None = None
    differences: list[dict[Pair, float]] = []
    for smaller in sorted((c for c in by_count if c < count), reverse=True):
        nested = [
            (by_count[count][s], by_count[smaller][t]) for s in by_count[count] for t in by_count[smaller] if t < s
        ]
        if nested:
            against = smaller
            differences = [
                _subtract(large.values(columns.STUDENT_TEST_ACCURACY), small.values(columns.STUDENT_TEST_ACCURACY))
                for large, small in nested
            ]
            break
    return CountRow(
        strategy,
        count,
        len(by_count[count]),
        estimate(accuracy, by_replicate=by_replicate),
        against,
        estimate(_mean_by_pair(differences), by_replicate=by_replicate),
    )


def _subtract(values: dict[Pair, float], others: dict[Pair, float]) -> dict[Pair, float]:
    return {pair: values[pair] - others[pair] for pair in values.keys() & others.keys()}


def _mean_by_pair(columns: Sequence[dict[Pair, float]]) -> dict[Pair, float]:
    """Mean over several columns at each (replicate, seed) that all of them have."""
    shared = set.intersection(*(set(column) for column in columns)) if columns else set()
    return {pair: math.fsum(column[pair] for column in columns) / len(columns) for pair in shared}
