"""The choice of the winner on the split `choose`, and the order of arms that breaks ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from wetakd.config import EMPTY_POINT, SweepPoint
from wetakd.config.controls import DGKD, NO_DISTILLATION, SINGLE, TEACHER_ALONE
from wetakd.results import columns
from wetakd.weights import STRATEGIES

if TYPE_CHECKING:
    import pandas as pd
from wetakd.results.statistics import exact_mean

# Order of arms that are otherwise equal: the simplest recipe first. A strategy from elsewhere comes last, by name.
STRATEGY_ORDER = (NO_DISTILLATION, SINGLE, TEACHER_ALONE, *STRATEGIES, DGKD)


def arm_order(strategy: str, assistants: Sequence[str], point: SweepPoint = EMPTY_POINT) -> tuple[Any, ...]:
    """Sort key of an arm: fewest assistants, then the strategy, then names and point."""
    rank = STRATEGY_ORDER.index(strategy) if strategy in STRATEGY_ORDER else len(STRATEGY_ORDER)
    return (len(assistants), rank, strategy, tuple(assistants), point.to_json())


@dataclass(frozen=True)
class Winner:
    """The arm with the best students on `choose`, and its best student there, which is the one that ships."""

    strategy: str
    assistants: tuple[str, ...]
    point: SweepPoint
    replicate: int
    seed: int
    student_key: str
    weights: tuple[float, ...] | None
    """Of the student that ships, aligned with `assistants`; None without distillation."""
    mean_choose_accuracy: float
    """Of the arm, over its seeds."""
    choose_accuracy: float
    """Of the student that ships."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return asdict(self) | {
            "assistants": list(self.assistants),
            "point": self.point.to_json(),
            "weights": self.weights and list(self.weights),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Winner:
        """The inverse of `to_dict`."""
        known = {field.name: values[field.name] for field in fields(cls)}
        weights = None if known["weights"] is None else tuple(known["weights"])
        point = SweepPoint.from_json(known["point"])
        return cls(**known | {"assistants": tuple(known["assistants"]), "point": point, "weights": weights})


def finished_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials whose students were trained to the end: neither failed nor stopped early."""
    failed = trials[columns.ERROR].notna() & (trials[columns.ERROR] != "")
    done = ~failed & trials[columns.STOPPED_AT_EPOCH].isna() & trials[columns.STUDENT_CHOOSE_ACCURACY].notna()
    return trials[done]


def choose_winner(trials: pd.DataFrame) -> Winner | None:
    """The arm with the best mean `student_choose_accuracy`; None where no student was finished.

    Reads no test column. Only arms with as many finished students as any arm has can win: a recipe that failed at two
    seeds must not win by its third. Ties go to the arm that comes first by `arm_order`.
    """
    arms: dict[tuple[str, tuple[str, ...], SweepPoint], list[Mapping[Any, Any]]] = {}
    for row in finished_trials(trials).to_dict("records"):
        arm = (row[columns.STRATEGY], tuple(row[columns.ASSISTANTS]), SweepPoint.from_json(row[columns.POINT]))
        arms.setdefault(arm, []).append(row)
    if not arms:
        return None
    most = max(len(rows) for rows in arms.values())
    means = {arm: _rounded_mean(rows) for arm, rows in arms.items() if len(rows) == most}
    best = min(means, key=lambda arm: (-means[arm], arm_order(*arm)))
    shipped = min(
        arms[best], key=lambda row: (-row[columns.STUDENT_CHOOSE_ACCURACY], row[columns.REPLICATE], row[columns.SEED])
    )
    return Winner(
        *best,
        replicate=int(shipped[columns.REPLICATE]),
        seed=int(shipped[columns.SEED]),
        student_key=shipped[columns.STUDENT_KEY],
        weights=None
        if np.ndim(shipped[columns.WEIGHTS]) == 0
        else tuple(float(weight) for weight in shipped[columns.WEIGHTS]),
        mean_choose_accuracy=means[best],
        choose_accuracy=float(shipped[columns.STUDENT_CHOOSE_ACCURACY]),
    )


def _rounded_mean(rows: Sequence[Mapping[Any, Any]]) -> float:
    # Arms with as many correct answers must tie, however their seeds share them out.
    return round(exact_mean([row[columns.STUDENT_CHOOSE_ACCURACY] for row in rows]), 12)
