"""Options of a Ray task for the placement that a study file asks for."""

from __future__ import annotations

from typing import Any

import ray

from wetakd.common.errors import UserError, first_line
from wetakd.config import PlacementConfig


def task_options(placement: PlacementConfig, retries: int) -> dict[str, Any]:
    """Options of a Ray task with this placement, spread over nodes; who dies or loses storage is tried again."""
    return {
        "num_cpus": placement.cpus,
        "num_gpus": placement.gpus,
        "resources": dict(placement.resources),
        "label_selector": dict(placement.labels) or None,
        "max_retries": retries,
        "retry_exceptions": [OSError],  # storage that was away for a moment
        "scheduling_strategy": "SPREAD",
    }


def ensemble_placement(student: PlacementConfig) -> PlacementConfig:
    """One CPU on a node for students: for weight searches and evaluations of ensembles, which belong to no network.

    Without it, an autoscaler would start nodes of any kind for them.
    """
    return student.model_copy(update={"cpus": 1.0, "gpus": 0.0})


@ray.remote
def _nothing() -> None:
    pass


def check_placement(placement: PlacementConfig, field: str) -> None:
    """Raise UserError for what Ray would refuse only when a worker starts; needs no cluster."""
    try:
        _nothing.options(**task_options(placement, retries=0))
    except ValueError as error:
        raise UserError(f"{field}: Ray refuses it: {first_line(error)}") from None
