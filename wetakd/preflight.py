"""What cannot work, said before anything trains."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ray
from pydantic import ValidationError

from wetakd.cluster import num_workers, possible_nodes, worker_resources
from wetakd.config import STUDENT, TEACHER, ModelConfig, PlacementConfig, StudyConfig
from wetakd.data import Dataset
from wetakd.errors import UserError
from wetakd.models import InputShape, build, check_training
from wetakd.plan import Plan
from wetakd.training_job import input_shape
from wetakd.views import Views

# Ray sets it for the entry point of a submitted job, and for nothing else.
_SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def check_storage(config: StudyConfig) -> None:
    """Refuse a relative path where it would name a temporary folder, or another folder on each node."""
    if "://" in config.storage or Path(config.storage).expanduser().is_absolute():
        return
    if _SUBMITTED in os.environ:
        why = "a submitted job runs in a temporary folder"
    elif ray.is_initialized() and sum(node["Alive"] for node in ray.nodes()) > 1:
        why = "the nodes of this cluster would each have their own"
    else:
        return
    raise UserError(
        f"storage: {config.storage!r} is a relative path, but {why}; give s3://..., gs://... or the absolute path of a "
        "folder that all nodes share"
    )


def check_models(config: StudyConfig, dataset: Dataset, plan: Plan) -> None:
    """Build every network and train it for a step: a wrong name, option or output is found here."""
    shape = input_shape(dataset)
    Views.of(config.views).check_size(shape.height, shape.width)
    for name, network in config.networks.items():
        path = name if name == "teacher" else f"assistants.{name}"
        _check_model(network.model, shape, dataset.num_classes, f"{path}.model")
        _check_batch(network.recipe.batch_size, num_workers(network), f"{path}.recipe.batch_size")
    _check_model(config.student.model, shape, dataset.num_classes, f"{STUDENT}.model")
    for point in plan.points:
        try:
            plan.student_config(point)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise UserError(f"study.sweep: the point {point} is not a valid student: {reason}") from None


def _check_model(model: ModelConfig, shape: InputShape, num_classes: int, field: str) -> None:
    module = build(model, shape, num_classes, seed=0, field=field)
    check_training(module, model.name, shape, num_classes, field=field)


def _check_batch(batch_size: int, workers: int, field: str) -> None:
    if batch_size % workers:
        raise UserError(f"{field}: {batch_size} does not divide by the {workers} workers of this network")


def check_resources(config: StudyConfig, say: Callable[[str], None]) -> None:
    """Say what the cluster must grow for first; refuse at once what it can never have.

    Raises UserError that names the field, what it asks for and what the cluster has.
    """
    nodes = [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    growth = possible_nodes()
    for field, placement, workers in _requests(config):
        asked = worker_resources(placement)
        if _places(nodes, asked) >= workers:
            continue
        if _places(nodes + growth, asked) < workers:
            largest = {name: max((n.get(name, 0.0) for n in nodes + growth), default=0.0) for name in asked}
            raise UserError(
                f"{field}: {workers} worker(s) of {_shown(asked)} can never run here, for this cluster has "
                f"{len(nodes + growth)} node(s) of at most {_shown(largest)}; ask for less or join a larger cluster"
            )
        say(f"waiting   {field} asks for {workers} x {_shown(asked)}: the cluster must grow first")


def _requests(config: StudyConfig) -> list[tuple[str, PlacementConfig, int]]:
    """What the file asks of the cluster: field, placement of one worker, number of workers."""
    networks = [
        (f"{name if name == TEACHER else f'assistants.{name}'}.placement", network.placement, num_workers(network))
        for name, network in config.networks.items()
    ]
    return [*networks, (f"{STUDENT}.placement", config.student.placement, 1)]


def _places(nodes: Sequence[Mapping[str, float]], asked: Mapping[str, float]) -> int:
    """How many such workers the nodes hold at once."""
    return sum(min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in asked.items()) for node in nodes)


def _shown(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
