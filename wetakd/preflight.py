"""What cannot work, said before anything trains."""

from __future__ import annotations


from collections.abc import Callable, Mapping

import ray

from wetakd.cluster import num_workers, worker_resources
from wetakd.config import STUDENT, NetworkConfig, PlacementConfig, StudyConfig
from wetakd.data import Dataset
from wetakd.errors import UserError
from wetakd.models import build
from wetakd.plan import Plan
from wetakd.training_job import input_shape
from wetakd.views import Views


def check_models(config: StudyConfig, dataset: Dataset, plan: Plan) -> None:
    """Build every network once: a wrong name, option or output width is found here."""
    shape = input_shape(dataset)
    Views.of(config.views).check_size(shape.height, shape.width)
    for name, network in config.networks.items():
        path = name if name == "teacher" else f"assistants.{name}"
        build(network.model, shape, dataset.num_classes, seed=0, field=f"{path}.model")
        _check_batch(network.recipe.batch_size, num_workers(network), f"{path}.recipe.batch_size")
    build(config.student.model, shape, dataset.num_classes, seed=0, field=f"{STUDENT}.model")
    for point in plan.points:
        try:
            plan.student_config(point)
        except ValueError as error:
            reason = str(error).splitlines()[-2 if "\n" in str(error) else 0].strip()
            raise UserError(f"study.sweep: the point {point} is not a valid student: {reason}") from None


def _check_batch(batch_size: int, workers: int, field: str) -> None:
    if batch_size % workers:
        raise UserError(f"{field}: {batch_size} does not divide by the {workers} workers of this network")


def check_resources(config: StudyConfig, say: Callable[[str], None]) -> None:
    """Wait for what the cluster lacks now but can scale to; refuse at once what it can never have.

    Raises UserError that names the field, the resource and what the cluster has.
    """
    for field, placement, workers in _requests(config):
        asked = worker_resources(placement)
        largest = _largest_node(asked)
        if all(largest.get(name, 0.0) >= amount for name, amount in asked.items()) and _total_fits(asked, workers):
            continue
        if not _autoscales():
            have = {name: ray.cluster_resources().get(name, 0.0) for name in asked}
            raise UserError(
                f"{field}: {workers} worker(s) of {_shown(asked)} can never run here, "
                f"for the cluster has {_shown(have)}; ask for less or join a larger cluster"
            )
        say(f"waiting   {field} asks for {workers} x {_shown(asked)}: the cluster must grow first")


def _requests(config: StudyConfig) -> list[tuple[str, PlacementConfig, int]]:
    def path(name: str) -> str:
        return f"{name if name == 'teacher' else f'assistants.{name}'}.placement"

    def workers(network: NetworkConfig) -> int:
        return num_workers(network)

    networks = [(path(name), network.placement, workers(network)) for name, network in config.networks.items()]
    return [*networks, (f"{STUDENT}.placement", config.student.placement, 1)]


def _largest_node(asked: Mapping[str, float]) -> dict[str, float]:
    """The node that could hold the worker, or else the one with most of the first resource asked for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fitting = [n for n in nodes if all(n.get(name, 0.0) >= amount for name, amount in asked.items())]
    return dict((fitting or nodes or [{}])[0])


def _total_fits(asked: Mapping[str, float], workers: int) -> bool:
    total = ray.cluster_resources()
    return all(total.get(name, 0.0) >= amount * workers for name, amount in asked.items())


def _autoscales() -> bool:
    """Whether an autoscaler watches over this cluster and told which nodes it can add."""
    from ray._private.state import state

    config = state.get_cluster_config()
    return config is not None and len(config.node_group_configs) > 0


def _shown(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())


