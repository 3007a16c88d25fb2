"""Resolve `precision: auto` by measurement on the nodes that can run the work."""

from __future__ import annotations

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from wetakd.cluster.capacity import suits
from wetakd.cluster.task_options import task_options
from wetakd.config import PlacementConfig, StudyConfig
from wetakd.plan.resolved_precision import ResolvedPrecision, auto_placements
from wetakd.plan.trials import device_of
from wetakd.training.precision_speed import MIN_SPEEDUP, bfloat16_speedup


def resolve_precisions(config: StudyConfig) -> dict[str, ResolvedPrecision]:
    """What `auto` stands for in each network, and in `student`: bfloat16 if it is faster on all nodes that suit.

    Ray must be joined. Each kind of placement is measured once, on every node that can run it now; where there is none
    yet, on the first one that an autoscaler starts.
    """
    placements = auto_placements(config)
    speedups: list[tuple[PlacementConfig, float]] = []
    for placement in placements.values():
        if all(placement != measured for measured, _ in speedups):
            speedups.append((placement, _lowest_speedup(placement, config.limits.retries)))
    return {
        name: ResolvedPrecision(
            device_of(placement),
            "bfloat16" if next(s for p, s in speedups if p == placement) >= MIN_SPEEDUP else "float32",
        )
        for name, placement in placements.items()
    }


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
