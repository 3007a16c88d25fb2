"""Resolve `precision: auto` by measurement on the nodes that can run the work."""

from __future__ import annotations

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from wetakd.cluster.capacity import suits
from wetakd.cluster.task_options import task_options
from wetakd.config import PlacementConfig, StudyConfig
from wetakd.plan.resolved_precision import ResolvedPrecision, choose_precisions
from wetakd.plan.trials import device_of
from wetakd.training.precision_speed import MIN_SPEEDUP, bfloat16_speedup


def resolve_precisions(config: StudyConfig) -> dict[str, ResolvedPrecision]:
    """What `auto` stands for in each network, and in `student`: bfloat16 if it is faster on all nodes that suit.

    Ray must be joined. Each kind of placement is measured once, on every node that can run it now; where there is none
    yet, on the first one that an autoscaler starts.
    """
    retries = config.limits.retries
    return choose_precisions(config, lambda placement: _lowest_speedup(placement, retries) >= MIN_SPEEDUP)


def _lowest_speedup(placement: PlacementConfig, retries: int) -> float:
    device = device_of(placement)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and suits(node, placement)]
    if device == "cpu" and nodes == [ray.get_runtime_context().get_node_id()]:
        return bfloat16_speedup(device)  # this machine is the cluster: no worker has to start for it
    options = task_options(placement, retries)
    where = [{"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)} for node in nodes] or [{}]
    return min(ray.get([_speedup.options(**options | on_node).remote(device) for on_node in where]))


@ray.remote
def _speedup(device: str) -> float:
    return bfloat16_speedup(device)
