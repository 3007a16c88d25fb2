"""One row of the report for each arm: accuracy, differences to uniform weights and to no distillation, search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wetakd.common.strategy_names import UNIFORM
from wetakd.config.controls import CONTROLS, NO_DISTILLATION
from wetakd.results import columns
from wetakd.results.arms import ArmResult, ArmResults
from wetakd.results.statistics import Estimate
from wetakd.results.stored_results import Results


@dataclass(frozen=True)
class ArmRow:
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


def arm_row(arm: ArmResult, arms: ArmResults, results: Results, sizes: Mapping[str, int]) -> ArmRow:
    """The row of `arm`, compared with the other `arms`; `sizes` are parameters by name."""
    uniform = arms.find(UNIFORM, arm.assistants) if arm.strategy not in (*CONTROLS, UNIFORM) else None
    none = arms.find(NO_DISTILLATION) if arm.strategy != NO_DISTILLATION else None
    winner = results.winner
    won = winner is not None and (winner.strategy, winner.assistants) == (arm.strategy, arm.assistants)
    return ArmRow(
        arm=arm,
        sizes=tuple(sizes.get(name) for name in arm.assistants),
        is_winner=won,
        accuracy=arm.estimate(columns.STUDENT_TEST_ACCURACY),
        macro_accuracy=arm.mean(columns.STUDENT_TEST_MACRO_ACCURACY),
        calibration_error=arm.mean(columns.STUDENT_TEST_CALIBRATION_ERROR),
        versus_uniform=arm.minus(uniform) if uniform and not arm.is_same_as(uniform) else None,
        versus_none=arm.minus(none) if none else None,
        ensemble_accuracy=arm.mean(columns.ENSEMBLE_TEST_ACCURACY),
        ensemble_nll=arm.mean(columns.ENSEMBLE_TEST_NLL),
        evaluations=arm.mean(columns.EVALUATIONS),
        search_seconds=arm.mean(columns.SEARCH_SECONDS),
        crossfit_gain=arm.mean(columns.CROSSFIT_GAIN),
        crossfit_error=arm.mean(columns.CROSSFIT_ERROR),
    )
