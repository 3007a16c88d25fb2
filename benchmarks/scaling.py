"""What a study asks of its cluster's control plane as the cluster grows: `python benchmarks/scaling.py`.

No cluster is started. Measured: decisions of the very scheduler that Ray's autoscaler runs, on a group of nodes of
cluster/aws.yaml with its limit lifted. Computed: steps and bytes, from the rules in Ray's and our own code.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler.v2 import scheduler
from ray.autoscaler.v2.instance_manager import config as node_config
from ray.core.generated import autoscaler_pb2, common_pb2

from wetakd.logits.logit_cache import BYTES_PER_LOGIT, BYTES_PER_ROW

AWS = Path(__file__).parents[1] / "cluster" / "aws.yaml"
# Ray generates these at run time, so that no type checker knows what is in them.
messages: Any = autoscaler_pb2
common: Any = common_pb2

UPDATE_S = 5.0
"""How often the autoscaler looks, unless told otherwise."""
BOOT_S = 180.0
"""A machine's way from being asked for to being a node: boot, image, Ray."""
MOST_LAUNCHES = 10
"""Machines that Ray asks a cloud for at a time (AUTOSCALER_MAX_CONCURRENT_LAUNCHES)."""
MOST_PENDING = 200
"""Trials that Tune lets wait for resources, or 1.1 for each CPU where that is more."""


@dataclass(frozen=True)
class Group:
    """A group of nodes and what one unit of work asks of it."""

    name: str
    resources: dict[str, float]
    labels: dict[str, str]
    asked: dict[str, float]

    @property
    def per_node(self) -> int:
        """Units of work that a node holds."""
        return min(int(self.resources[name] // amount) for name, amount in self.asked.items())


def students() -> Group:
    """The students' group of aws.yaml, a CPU each."""
    found = yaml.safe_load(AWS.read_text())["available_node_types"]["students"]
    return Group("students", found["resources"], found["labels"], {"CPU": 1})


def decide(group: Group, num_waiting: int) -> tuple[float, int]:
    """Seconds of one decision from an empty cluster for so much waiting work, and the nodes that it wants."""
    wanted = messages.ResourceRequest(resources_bundle=group.asked)
    wanted.label_selectors.append(_selector(group.labels))
    gang = messages.GangResourceRequest(details="group:PACK|PENDING", requests=[wanted])
    gang.bundle_selectors.append(messages.BundleSelector(resource_requests=[wanted]))
    kind = node_config.NodeTypeConfig(
        name=group.name, min_worker_nodes=0, max_worker_nodes=10**6, resources=group.resources, labels=group.labels
    )
    request = scheduler.SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs={group.name: kind},
        max_num_nodes=10**6,
        gang_resource_requests=[gang] * num_waiting,
    )
    began = time.perf_counter()
    reply = scheduler.ResourceDemandScheduler(None).schedule(request)
    return time.perf_counter() - began, sum(launch.count for launch in reply.to_launch)


def _selector(labels: dict[str, str]) -> Any:
    selector = common.LabelSelector()
    for name, value in labels.items():
        selector.label_constraints.add(
            label_key=name, operator=common.LabelSelectorOperator.LABEL_OPERATOR_IN, label_values=[value]
        )
    return selector


def growth(group: Group, num_nodes: int, speed: float) -> tuple[int, float]:
    """Steps in which the autoscaler asks for machines, and seconds until the last of so many nodes runs.

    Wanted at a time is what Tune lets wait. A step asks for `speed` times what runs, at least for one, at most for
    MOST_LAUNCHES; a cloud that gives machines within a step is taken for granted.
    """
    started: list[float] = []
    now, steps = 0.0, 0
    while len(started) < num_nodes:
        running = sum(at + BOOT_S <= now for at in started)
        pending = max(MOST_PENDING, math.floor(1.1 * running * group.per_node))
        wanted = min(num_nodes, running + math.ceil(pending / group.per_node)) - len(started)
        asked = min(wanted, MOST_LAUNCHES, max(1, math.ceil(speed * max(running, 1))))
        started += [now] * max(0, asked)
        steps += asked > 0
        now += UPDATE_S
    return steps, started[-1] + BOOT_S


@dataclass(frozen=True)
class Study:
    """Sizes that decide how many bytes a node holds."""

    name: str
    num_fit: int
    num_held_out: int
    bytes_per_image: int
    num_classes: int
    num_views: int
    num_networks: int

    @property
    def dataset(self) -> int:
        """Bytes of the decoded images and their labels."""
        return (self.num_fit + self.num_held_out) * (self.bytes_per_image + 8)

    @property
    def cache_bytes(self) -> int:
        """Bytes of all logit caches: all views of the images that students train on, the clean image of the others."""
        num_rows = self.num_views * self.num_fit + self.num_held_out
        return num_rows * (self.num_classes * BYTES_PER_LOGIT + BYTES_PER_ROW) * self.num_networks


STUDIES = (
    Study("CIFAR-10, cifar10.yaml", 40_000, 20_000, 3 * 32 * 32, 10, 4, 4),
    Study("CIFAR-100, cifar100.yaml", 40_000, 20_000, 3 * 32 * 32, 100, 8, 4),
    Study("1.28 million images of 64 x 64, 1,000 classes", 1_025_000, 306_000, 3 * 64 * 64, 1000, 4, 4),
)


def main() -> None:
    """Print the tables of docs/scaling.md."""
    group, speed = students(), float(yaml.safe_load(AWS.read_text())["upscaling_speed"])
    print("one decision of the autoscaler (measured)")
    for waiting in (80, 200, 400, 800):
        seconds, launched = decide(group, waiting)
        print(f"{waiting:>6} students wait: {seconds:>6.2f} s, {launched} nodes")
    print("\nfrom nothing to so many nodes (computed)")
    for num_nodes in (10, 100, 1000):
        steps, ready = growth(group, num_nodes, speed)
        print(f"{num_nodes:>6} nodes, {num_nodes * group.per_node} students: {steps} steps, {ready / 60:.0f} min")
    print("\nbytes in the object store of a node, and sent to all of them (computed)")
    for study in STUDIES:
        total = study.dataset + study.cache_bytes
        sent = ", ".join(f"{total * num_nodes / 1e9:.0f} GB to {num_nodes}" for num_nodes in (10, 100, 1000))
        print(f"{study.name}: {study.dataset / 1e6:.0f} MB + {study.cache_bytes / 1e6:.0f} MB; {sent}")


if __name__ == "__main__":
    main()
