"""How strategies, controls, recipes and swept points are written for people."""

from __future__ import annotations

from collections.abc import Sequence

from wetakd.config import EMPTY_POINT, SweepPoint

CONTROLS = ("none", "teacher", "single", "dgkd")


_NAMES = {
    "none": "no distillation",
    "teacher": "teacher alone",
    "single": "single",
    "dgkd": "DGKD-style",
    "de": "DE",
    "random_search": "random search",
}


def display_name(strategy: str) -> str:
    """A strategy as the report writes it."""
    return _NAMES.get(strategy, strategy.replace("_", " "))


def recipe_label(strategy: str, assistants: Sequence[str], point: SweepPoint = EMPTY_POINT) -> str:
    """A recipe as people read it, such as `DE ta8+ta6` or, where fields are swept, `DE ta8+ta6, temperature 4`."""
    # What is no mixture of choice says nothing by naming its networks.
    named = "" if strategy in ("none", "teacher", "dgkd") else f" {'+'.join(assistants)}"
    return ", ".join(filter(None, (f"{display_name(strategy)}{named}", point.label)))
