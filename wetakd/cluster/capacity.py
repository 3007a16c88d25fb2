"""Whether a cluster can hold what a study asks for: now, after it has grown, or never.

Ray tells nobody what its autoscaler could add, so the autoscaler is asked: a placement group stands for each request
that no node can hold today, and what the autoscaler then reports as infeasible can never be had.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group

from wetakd.common.errors import UserError
from wetakd.config import STUDENT, NetworkConfig, PlacementConfig, StudyConfig, block_of

# An autoscaler looks every 5 seconds by default; starting a node may hold it up for some more.
_VERDICT_S = 60.0
_AUTOSCALER_POLL_S = 0.5
_FIRST_AUTOSCALER_KEY = b"__autoscaling_status"
_LOOKED_ON = re.compile("node_[0-9a-f]+")


def worker_resources(placement: PlacementConfig) -> dict[str, float]:
    """What one worker asks for, in Ray's names."""
    asked = {"CPU": placement.cpus, "GPU": placement.gpus, **placement.resources}
    return {name: amount for name, amount in asked.items() if amount}


def num_workers(config: NetworkConfig) -> int:
    """Workers that a network needs at least."""
    return max(1, config.workers if isinstance(config.workers, int) else config.workers[0])


@dataclass(frozen=True)
class Bundle:
    """Resources that one node must have at once, and the labels that it must bear."""

    asked: dict[str, float]
    labels: dict[str, str]


@dataclass(frozen=True)
class Request:
    """So many workers at once, each with this placement."""

    field: str
    placement: PlacementConfig
    workers: int
    network: str | None = None
    """The teacher or assistant that asks; None for students."""

    @property
    def asked(self) -> dict[str, float]:
        """Resources of one worker."""
        return worker_resources(self.placement)

    @property
    def bundle(self) -> Bundle:
        """What the node of one worker must have."""
        return Bundle(self.asked, dict(self.placement.labels))

    @property
    def shape(self) -> tuple[int, str]:
        """Equal where two requests ask for the same."""
        return self.workers, repr((sorted(self.asked.items()), sorted(self.placement.labels.items())))

    @property
    def shown(self) -> str:
        """What one worker asks for, for people."""
        labels = [f"label {name}={value}" for name, value in self.placement.labels.items()]
        return ", ".join([f"{amount:g} {name}" for name, amount in self.asked.items()] + labels)


def requests(config: StudyConfig) -> list[Request]:
    """What the file asks of the cluster."""
    networks = [
        Request(f"{block_of(name)}.placement", net.placement, num_workers(net), name)
        for name, net in config.networks.items()
    ]
    return [*networks, Request(f"{STUDENT}.placement", config.student.placement, 1)]


def check_capacity(config: StudyConfig, say: Callable[[str], None], is_stored: Callable[[str], bool]) -> None:
    """Say what the cluster must grow for first; refuse at once what it can never have.

    A network for which `is_stored(name)` is true has no task left, so it needs nothing of the cluster. This is asked
    only of networks that do not fit.

    Raises UserError that names the field, what it asks for and what the cluster has.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    missing = [
        request
        for request in requests(config)
        if not (_fits(nodes, request) or (request.network is not None and is_stored(request.network)))
    ]
    for request in _impossible(missing):
        has = {name: max((node["Resources"].get(name, 0.0) for node in nodes), default=0.0) for name in request.asked}
        more = ", and its autoscaler has none for it" if is_growing() else ""
        raise UserError(
            f"{request.field}: {request.workers} worker(s) of {request.shown} can never run here, for this cluster has "
            f"{len(nodes)} node(s) of at most {_resources_text(has)}{more}; ask for less or join a larger cluster"
        )
    for request in missing:
        say(f"waiting   {request.field} asks for {request.workers} x {request.shown}: the cluster must grow first")


def is_growing() -> bool:
    """Whether an autoscaler adds nodes to this cluster."""
    return _has_first_autoscaler() or _autoscaling().autoscaling_state.autoscaler_state_version > 0


def _impossible(missing: Sequence[Request]) -> list[Request]:
    """Those of the requests that no node can ever hold; without an autoscaler, all that none holds today."""
    if not missing or not is_growing():
        return list(missing)
    if _has_first_autoscaler():
        return []  # it reports nothing of the kind
    # Each shape once: all networks together may ask for more nodes than there may be at a time.
    shapes = {request.shape: [request.bundle] * request.workers for request in missing}
    never = _infeasible(list(shapes.values()))
    if not never or not _may_grow_by(len(shapes)):
        return []  # the nodes that there may be are taken by others: it can wait
    impossible = [shape for place, shape in enumerate(shapes) if place in never]
    return [request for request in missing if request.shape in impossible]


def _may_grow_by(num_nodes: int) -> bool:
    """Whether so many nodes may be added to those that run or start, of whatever kind."""
    state = _autoscaling().autoscaling_state
    starting = len(state.pending_instances) + sum(request.count for request in state.pending_instance_requests)
    running = sum(node["Alive"] and node["Resources"].get("CPU", 0.0) > 0 for node in ray.nodes())
    any_node = [Bundle({"CPU": 0.001}, {})] * (running + starting + num_nodes)
    return not _infeasible([any_node], strategy="STRICT_SPREAD")


def _infeasible(wanted: Sequence[Sequence[Bundle]], strategy: str = "PACK") -> set[int]:
    """Which of these groups of bundles the autoscaler calls infeasible, all of them asked at once."""
    groups = [
        placement_group(
            [bundle.asked for bundle in bundles],
            strategy=strategy,
            bundle_label_selector=[bundle.labels for bundle in bundles],
        )
        for bundles in wanted
    ]
    try:
        infeasible = _infeasible_groups()
        return {place for place, group in enumerate(groups) if group.id.hex() in infeasible}
    finally:
        for group in groups:
            remove_placement_group(group)


def _infeasible_groups() -> set[str]:
    """Placement groups that the autoscaler calls infeasible, once it has seen all that ask now."""
    deadline = time.monotonic() + _VERDICT_S
    asked = _autoscaling().cluster_resource_state.cluster_resource_state_version
    while (state := _autoscaling().autoscaling_state).last_seen_cluster_resource_state_version < asked:
        if time.monotonic() > deadline:
            return set()  # no verdict: they wait like any other
        time.sleep(_AUTOSCALER_POLL_S)
    return {request.details.partition(":")[0] for request in state.infeasible_gang_resource_requests}


def _autoscaling() -> Any:
    """What Ray's head knows of nodes, demands and the second autoscaler's view of them."""
    from ray import _raylet
    from ray.core.generated import autoscaler_pb2

    raylet: Any = _raylet
    messages: Any = autoscaler_pb2
    client = raylet.GcsClient(address=ray.get_runtime_context().gcs_address)
    return messages.GetClusterStatusReply.FromString(client.get_cluster_status())


def _has_first_autoscaler() -> bool:
    """Whether Ray's first autoscaler can add nodes.

    It reports on every cluster; where it only looks on, it names the type of each node after the node.
    """
    from ray.experimental.internal_kv import _internal_kv_get

    status = json.loads(_internal_kv_get(_FIRST_AUTOSCALER_KEY) or b"{}")
    types = (status.get("autoscaler_report") or {}).get("active_nodes") or {}
    return any(not _LOOKED_ON.fullmatch(name) for name in types)


def _fits(nodes: Sequence[Mapping[str, Any]], request: Request) -> bool:
    """Whether the nodes, were they empty, hold the workers of a request at once."""
    suited = [node["Resources"] for node in nodes if matches(node.get("Labels") or {}, request.placement.labels)]
    asked = request.asked
    places = sum(min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in asked.items()) for node in suited)
    return places >= request.workers


def suits(node: Mapping[str, Any], placement: PlacementConfig) -> bool:
    """Whether a node of `ray.nodes()`, were it empty, can run one worker with this placement."""
    return _fits([node], Request("", placement, 1))


def matches(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether a node with `labels` suits Ray's `selector`: values as `a`, `!a`, `in(a, b)` or `!in(a, b)`."""
    return all(_matches(labels.get(name), wanted) for name, wanted in selector.items())


def _matches(value: str | None, wanted: str) -> bool:
    without = wanted.startswith("!")
    wanted = wanted.removeprefix("!")
    inner = wanted[3:-1] if wanted.startswith("in(") and wanted.endswith(")") else wanted
    return (value in [choice.strip() for choice in inner.split(",")]) != without


def _resources_text(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
