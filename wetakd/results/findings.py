"""What the tables of a study amount to, as numbers: the arms, the contrasts, and what the assistants add.

Words and pictures are made from this elsewhere; every number here can be recomputed from the study's folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wetakd.common.strategy_names import UNIFORM
from wetakd.config.controls import CONTROLS, FIXED_TEACHERS, NO_DISTILLATION
from wetakd.results.arms import ArmResult, ArmResults, collect_arms, sizes_of
from wetakd.results.contrasts import Contrast, CountRow, contrasts, counts, main_strategy
from wetakd.results.failure_counts import Failures, find_failures
from wetakd.results.rank_correlation import RankCorrelation, rank_correlation
from wetakd.results.statistics import Estimate, estimate
from wetakd.results.stored_results import Results

# Fewer recipes over one subset than this say nothing about ranks.
_LEAST_RECIPES = 4


@dataclass(frozen=True)
class Row:
    """One arm of the main table."""

    arm: ArmResult
    sizes: tuple[int | None, ...]
    """Parameters of its assistants."""
    is_winner: bool
    accuracy: Estimate | None
    macro_accuracy: float | None
    calibration_error: float | None
    versus_uniform: Estimate | None
    """Paired difference to uniform weights over the same assistants; None for controls and for the same students."""
    versus_none: Estimate | None
    ensemble_accuracy: float | None
    """On `test`, like the student's."""
    ensemble_nll: float | None
    evaluations: float | None
    search_seconds: float | None
    crossfit_gain: float | None
    crossfit_error: float | None

    @property
    def group(self) -> str:
        """`control` or `strategy`."""
        return "control" if self.arm.strategy in CONTROLS else "strategy"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        arm = self.arm
        values = {
            name: value.to_dict() if isinstance(value, Estimate) else value
            for name, value in self.__dict__.items()
            if name not in ("arm", "sizes")
        }
        return {
            "label": arm.label,
            "strategy": arm.strategy,
            "assistants": list(arm.assistants),
            "sizes": list(self.sizes),
            "point": arm.point.to_json(),
            "num_students": len(arm.students),
            "num_failed": arm.num_failed,
            "num_stopped": arm.num_stopped,
            "same_as": arm.same_as,
        } | values


@dataclass(frozen=True)
class Proxy:
    """How well the ensemble's quality on `choose` ranks the students it taught, recipes with the same students once."""

    where: tuple[str, ...]
    """The subset within which recipes are ranked; empty: all recipes over the pool's assistants."""
    measure: str
    """`accuracy` or `log-loss` of the ensemble; a positive rank correlation always means better teaches better."""
    correlation: RankCorrelation

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {"where": list(self.where), "measure": self.measure} | self.correlation.to_dict()


@dataclass(frozen=True)
class Contribution:
    """What one network of the pool adds."""

    name: str
    size: int | None
    leave_one_out: Estimate | None
    """Accuracy on `weigh` that the uniform ensemble loses without it."""
    shapley: Estimate | None
    """Its mean marginal accuracy on `weigh` over all orders of joining."""
    weight: float | None
    """Mean weight under the main strategy (`Findings.main_strategy`) over the whole pool."""
    student_loss: Estimate | None
    """Student test accuracy under the main strategy with it, less without it."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {n: v.to_dict() if isinstance(v, Estimate) else v for n, v in self.__dict__.items()}


@dataclass(frozen=True)
class Findings:
    """All that a report says, before it is said."""

    results: Results
    arms: ArmResults
    rows: tuple[Row, ...]
    contrasts: tuple[Contrast, ...]
    counts: tuple[CountRow, ...]
    proxies: tuple[Proxy, ...]
    contributions: tuple[Contribution, ...]
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
        column = self.results.trials["error"]
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
            "proxies": [proxy.to_dict() for proxy in self.proxies],
            "contributions": [contribution.to_dict() for contribution in self.contributions],
            "errors": dict(self.errors),
            "failures": self.failures.to_dict(),
        }


def find_findings(results: Results) -> Findings:
    """Work out everything from the tables; the order of their rows does not matter."""
    arms = collect_arms(results.trials)
    sizes = sizes_of(results.networks)
    strategies = dict.fromkeys([*(results.primary or ()), *arms.strategies])
    return Findings(
        results=results,
        arms=arms,
        rows=tuple(_arm_row(arm, arms, results, sizes) for arm in arms.best),
        contrasts=tuple(contrasts(arms, results.primary, results.pool)),
        counts=tuple(row for s in strategies if s in arms.strategies for row in counts(arms, s, results.pool)),
        proxies=tuple(_proxies_of(arms)),
        contributions=tuple(_contributions_of(arms, results, sizes)),
        num_replicates=int(results.trials["replicate"].nunique()),
        num_seeds=int(results.trials["seed"].nunique()),
    )


def _arm_row(arm: ArmResult, arms: ArmResults, results: Results, sizes: Mapping[str, int]) -> Row:
    uniform = arms.find(UNIFORM, arm.assistants) if arm.strategy not in (*CONTROLS, UNIFORM) else None
    none = arms.find(NO_DISTILLATION) if arm.strategy != NO_DISTILLATION else None
    winner = results.winner
    won = winner is not None and (winner.strategy, winner.assistants) == (arm.strategy, arm.assistants)
    return Row(
        arm=arm,
        sizes=tuple(sizes.get(name) for name in arm.assistants),
        is_winner=won,
        accuracy=arm.estimate("student_test_accuracy"),
        macro_accuracy=arm.mean("student_test_macro_accuracy"),
        calibration_error=arm.mean("student_test_calibration_error"),
        versus_uniform=arm.minus(uniform) if uniform and not arm.is_same_as(uniform) else None,
        versus_none=arm.minus(none) if none else None,
        ensemble_accuracy=arm.mean("ensemble_test_accuracy"),
        ensemble_nll=arm.mean("ensemble_test_nll"),
        evaluations=arm.mean("evaluations"),
        search_seconds=arm.mean("search_seconds"),
        crossfit_gain=arm.mean("crossfit_gain"),
        crossfit_error=arm.mean("crossfit_error"),
    )


def proxy_arms(arms: ArmResults) -> list[ArmResult]:
    """The distinct arms that mix assistants, which the proxy is asked about: no control but the single assistants."""
    return [arm for arm in arms.best if arm.same_as is None and arm.strategy not in FIXED_TEACHERS]


def _proxies_of(arms: ArmResults) -> list[Proxy]:
    distinct = proxy_arms(arms)
    subsets = dict.fromkeys(arm.assistants for arm in distinct)
    places: list[tuple[tuple[str, ...], list[ArmResult]]] = [((), distinct)]
    places += [(subset, [arm for arm in distinct if arm.assistants == subset]) for subset in reversed(subsets)]
    found = [
        Proxy(where, measure, correlation)
        for where, some in places
        if len(some) >= _LEAST_RECIPES
        for measure in ("accuracy", "log-loss")
        if (correlation := _ranks(some, measure)) is not None
    ]
    # With one subset, "all recipes" and "within it" are one statement.
    return found if len(subsets) > 1 else [proxy for proxy in found if not proxy.where]


def proxy_points(arms: Sequence[ArmResult], measure: str) -> list[tuple[ArmResult, float, float]]:
    """Arms with their ensemble's quality on `choose` (`accuracy`, or minus the log-loss) and mean student accuracy."""
    column, sign = ("ensemble_choose_accuracy", 1) if measure == "accuracy" else ("ensemble_choose_nll", -1)
    known = [(arm, arm.mean(column), arm.mean("student_test_accuracy")) for arm in arms]
    # Means over seeds of equal numbers differ in the last bit; ranks must not.
    return [
        (arm, round(sign * quality, 12), round(accuracy, 12))
        for arm, quality, accuracy in known
        if quality is not None and accuracy is not None
    ]


def _ranks(arms: Sequence[ArmResult], measure: str) -> RankCorrelation | None:
    known = proxy_points(arms, measure)
    return rank_correlation([quality for _, quality, _ in known], [accuracy for _, _, accuracy in known])


def _contributions_of(arms: ArmResults, results: Results, sizes: Mapping[str, int]) -> list[Contribution]:
    table = results.contributions
    strategy = main_strategy(arms, results.primary)
    main = arms.find(strategy, results.pool) if strategy else None
    found = []
    for name in results.pool:
        rows = table[table["name"] == name]
        rest = [other for other in results.pool if other != name]
        without = arms.find(strategy, rest) if strategy else None
        found.append(
            Contribution(
                name,
                sizes.get(name),
                _by_replicate(rows, "leave_one_out"),
                _by_replicate(rows, "shapley"),
                _mean_weight(main, name),
                main.minus(without) if main and without and len(results.pool) > 1 else None,
            )
        )
    return found


def _by_replicate(rows: Any, column: str) -> Estimate | None:
    known = rows[["replicate", column]].dropna()
    values = {(int(r), 0): float(value) for r, value in known.itertuples(index=False, name=None)}
    return estimate(values, by_replicate=True)


def _mean_weight(arm: ArmResult | None, name: str) -> float | None:
    if arm is None or not arm.students:
        return None
    return float(np.mean([row["weights"][arm.assistants.index(name)] for row in arm.students]))
