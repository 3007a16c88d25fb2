"""What each network of the pool adds: to the ensemble (leave-one-out, Shapley) and to the student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wetakd.results import columns
from wetakd.results.arms import ArmResult, ArmResults
from wetakd.results.contrasts import main_strategy
from wetakd.results.statistics import Estimate, estimate
from wetakd.results.stored_results import Results


@dataclass(frozen=True)
class AssistantContribution:
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


def assistant_contributions(
    arms: ArmResults, results: Results, sizes: Mapping[str, int]
) -> list[AssistantContribution]:
    """One for each network of the pool; `sizes` are parameters by name."""
    table = results.contributions
    strategy = main_strategy(arms, results.primary)
    main = arms.find(strategy, results.pool) if strategy else None
    found = []
    for name in results.pool:
        rows = table[table[columns.NAME] == name]
        rest = [other for other in results.pool if other != name]
        without = arms.find(strategy, rest) if strategy else None
        found.append(
            AssistantContribution(
                name,
                sizes.get(name),
                _by_replicate(rows, columns.LEAVE_ONE_OUT),
                _by_replicate(rows, columns.SHAPLEY),
                _mean_weight(main, name),
                main.minus(without) if main and without and len(results.pool) > 1 else None,
            )
        )
    return found


def _by_replicate(rows: Any, column: str) -> Estimate | None:
    known = rows[[columns.REPLICATE, column]].dropna()
    values = {(int(r), 0): float(value) for r, value in known.itertuples(index=False, name=None)}
    return estimate(values, by_replicate=True)


def _mean_weight(arm: ArmResult | None, name: str) -> float | None:
    if arm is None or not arm.students:
        return None
    return float(np.mean([row[columns.WEIGHTS][arm.assistants.index(name)] for row in arm.students]))
