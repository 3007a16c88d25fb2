"""Synchronous successive halving over swept points (ASHA's rungs, arXiv 1810.05934, without its asynchrony).

Within every recipe (strategy and assistants) the swept points compete: at each rung the better ones, by their mean
accuracy on `choose` over all seeds, go on. All points of a rung are compared at the same epoch and at once, so the
result does not depend on which machine was faster.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping

from wetakd.config import HalvingConfig
from wetakd.plan.outcomes import TrainedStudent
from wetakd.plan.trials import Arm, Student, Trial

Train = Callable[[Mapping[str, Student], Mapping[str, int]], dict[str, TrainedStudent]]


def rungs(config: HalvingConfig, num_epochs: int) -> list[int]:
    """Epochs at which points are compared: min_epochs, times factor, and so on, below `num_epochs`."""
    found = []
    epoch = config.min_epochs
    while epoch < num_epochs:
        found.append(epoch)
        epoch *= config.factor
    return found


def survivors(accuracy: Mapping[Arm, float], factor: int) -> set[Arm]:
    """The arms that go on: of each recipe, one point in `factor` (at least one), best first, ties to the first given.

    `accuracy`: mean accuracy on `choose` by arm.
    """
    recipes: dict[tuple[str, tuple[str, ...]], list[Arm]] = defaultdict(list)
    for arm in accuracy:
        recipes[arm.strategy, arm.assistants].append(arm)
    return {
        arm
        for arms in recipes.values()
        for arm in sorted(arms, key=lambda arm: -accuracy[arm])[: math.ceil(len(arms) / factor)]
    }


def train_in_rungs(
    students: Mapping[Trial, Student], config: HalvingConfig, train: Train, on_pruned: Callable[[str], None]
) -> dict[str, TrainedStudent]:
    """Train every student to the first rung, the survivors to the next, and the last ones to the end.

    `train(students, until)` trains students (by key) up to the epochs named in `until` (no entry: to the end).
    `on_pruned(key)` is called for each student that is left behind. Returns every student by key; those left behind
    keep the epoch at which they were stopped.
    """
    if not students:
        return {}
    alive = {trial.arm for trial in students}
    outcomes: dict[str, TrainedStudent] = {}
    for rung in rungs(config, max(student.config.recipe.epochs for student in students.values())):
        running = {t: s for t, s in students.items() if t.arm in alive}
        until = {s.key: rung for s in running.values() if s.config.recipe.epochs > rung}
        outcomes |= train({s.key: s for s in running.values()}, until)
        alive = survivors(_mean_accuracy(running, outcomes, rung), config.factor)
        for key in outcomes.keys() - {s.key for t, s in students.items() if t.arm in alive}:
            on_pruned(key)
    last = {s.key: s for t, s in students.items() if t.arm in alive}
    return outcomes | train(last, {})


def _mean_accuracy(
    students: Mapping[Trial, Student], outcomes: Mapping[str, TrainedStudent], rung: int
) -> dict[Arm, float]:
    reported: dict[Arm, list[float]] = defaultdict(list)
    for trial, student in students.items():
        reported[trial.arm].append(outcomes[student.key].accuracy_at(rung))
    return {arm: sum(values) / len(values) for arm, values in reported.items()}
