"""What cannot work, said before anything trains."""

from __future__ import annotations

import os
from pathlib import Path

import ray

from wetakd.cluster.capacity import requests
from wetakd.cluster.ray_cluster import SUBMITTED
from wetakd.cluster.task_options import check_placement
from wetakd.common.errors import UserError
from wetakd.config import STUDENT, ModelConfig, NetworkConfig, StudyConfig, block_of
from wetakd.data.dataset import Dataset
from wetakd.data.views import Views
from wetakd.logits import external_networks
from wetakd.models.cost import InputShape, measure_cost
from wetakd.models.registry import build_model, input_shape
from wetakd.models.training_check import check_training
from wetakd.plan import completeness
from wetakd.plan.resolved_precision import auto_placements
from wetakd.plan.study_plan import Plan
from wetakd.plan.trials import device_of
from wetakd.storage.atomic_store import Store
from wetakd.training.losses import check_own_loss
from wetakd.training.precision import check_precision


def check_storage(config: StudyConfig) -> None:
    """Refuse a relative path where it would name a temporary folder, or another folder on each node."""
    if "://" in config.storage or Path(config.storage).expanduser().is_absolute():
        return
    if SUBMITTED in os.environ:
        why = "a submitted job runs in a temporary folder"
    elif ray.is_initialized() and sum(node["Alive"] for node in ray.nodes()) > 1:
        why = "the nodes of this cluster would each have their own"
    else:
        return
    raise UserError(
        f"storage: {config.storage!r} is a relative path, but {why}; give s3://..., gs://... or the absolute path of a "
        "folder that all nodes share"
    )


def check_placements(config: StudyConfig) -> None:
    """Refuse what Ray would refuse only when a worker starts, students' hours later."""
    for request in requests(config):
        check_placement(request.placement, request.field)


def check_models(config: StudyConfig, dataset: Dataset, plan: Plan, store: Store) -> None:
    """Build every network, determine its cost and train it for a step.

    A wrong name, option or output, and a network whose cost cannot be determined, are found here. A network that
    `store` holds with its logits needs no device, so its precision is not checked.
    """
    shape = input_shape(dataset)
    Views.of(config.views).check_size(shape.height, shape.width)
    for name, network in config.networks.items():
        path = block_of(name)
        if network.is_imported:
            external_networks.check_external(network, dataset, config.views.num, name)
            continue
        if config.teachers_of(name):
            check_own_loss(network.distillation, dataset.num_classes, field=f"{path}.distillation")
        _check_model(network.model, shape, dataset.num_classes, f"{path}.model")
        _check_batch(network, f"{path}.recipe.batch_size")
        _check_precision(network, name, plan, store)
    _check_devices(config, plan, store)
    _check_model(config.student.model, shape, dataset.num_classes, f"{STUDENT}.model")
    for point in plan.points:
        student = plan.student_config(point)
        check_own_loss(student.distillation, dataset.num_classes, field=f"{STUDENT}.distillation")
        field = f"{STUDENT}.recipe.precision"
        check_precision(student.recipe.precision, device_of(student.placement), field=field)


def _check_model(model: ModelConfig, shape: InputShape, num_classes: int, field: str) -> None:
    module = build_model(model, shape, num_classes, seed=0, field=field)
    measure_cost(module, shape, field=field)
    check_training(module, model.name, shape, num_classes, field=field)


def _check_precision(network: NetworkConfig, name: str, plan: Plan, store: Store) -> None:
    try:
        field = f"{block_of(name)}.recipe.precision"
        check_precision(network.recipe.precision, device_of(network.placement), field=field)
    except UserError:
        if not completeness.has_network(store, plan, name):
            raise


def _check_devices(config: StudyConfig, plan: Plan, store: Store) -> None:
    """Refuse another kind of device than `precision: auto` was resolved for, where something is left to train."""
    for name, placement in auto_placements(config).items():
        resolved = plan.precisions[name]
        if device_of(placement) == resolved.device:
            continue
        if name == STUDENT:
            is_finished = completeness.has_students(store, plan)
        else:
            is_finished = completeness.has_network(store, plan, name)
        if not is_finished:
            block = STUDENT if name == STUDENT else block_of(name)
            needed = "a GPU" if resolved.device == "cuda" else "no GPU"
            raise UserError(
                f"{block}.placement: gpus is {placement.gpus:g}, but {block}.recipe.precision: auto was resolved to "
                f"{resolved.precision} for {resolved.device} when this study began; give it {needed}, or pass --revise"
            )


def _check_batch(network: NetworkConfig, field: str) -> None:
    batch_size, workers = network.recipe.batch_size, network.workers
    most = workers[1] if isinstance(workers, tuple) else workers
    if most > batch_size:
        raise UserError(f"{field}: {batch_size} is less than the {most} workers of this network")
    # Elastic groups may have any size between; they drop the rest.
    if isinstance(workers, int) and workers and batch_size % workers:
        raise UserError(f"{field}: {batch_size} does not divide by the {workers} workers of this network")
