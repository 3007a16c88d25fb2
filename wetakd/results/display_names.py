"""How strategies, controls, recipes and swept points are written for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wetakd.common.strategy_names import DE, RANDOM_SEARCH
from wetakd.config import EMPTY_POINT, SweepPoint
from wetakd.config.controls import DGKD, FIXED_TEACHERS, NO_DISTILLATION, SINGLE, TEACHER_ALONE

_DISPLAY_NAMES: Mapping[str, str] = {
    NO_DISTILLATION: "no distillation",
    TEACHER_ALONE: "teacher alone",
    SINGLE: "single",
    DGKD: "DGKD-style",
    DE: "DE",
    RANDOM_SEARCH: "random search",
}


def display_name(strategy: str) -> str:
    """A strategy as the report writes it."""
    return _DISPLAY_NAMES.get(strategy, strategy.replace("_", " "))


def recipe_label(strategy: str, assistants: Sequence[str], point: SweepPoint = EMPTY_POINT) -> str:
    """A recipe as people read it, such as `DE ta8+ta6` or, where fields are swept, `DE ta8+ta6, temperature 4`."""
    # What is no mixture of choice says nothing by naming its networks.
    named = "" if strategy in FIXED_TEACHERS else f" {'+'.join(assistants)}"
    return ", ".join(filter(None, (f"{display_name(strategy)}{named}", point.label)))
