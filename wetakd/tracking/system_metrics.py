"""How busy the driver's machine and the cluster are, sampled into the study's MLflow run where the file asks for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import ray

from wetakd.tracking.tracker import Tracker

log = logging.getLogger(__name__)

EVERY_S = 10.0
# MLflow shows what begins so on a page of its own.
_METRIC_PREFIX = "system/"


@contextmanager
def log_system_metrics(tracker: Tracker, uid: str) -> Iterator[None]:
    """Note `sample_machine()` in run `uid` every `EVERY_S` seconds, going on after the steps of an earlier driver."""
    over = threading.Event()

    def keep_sampling() -> None:
        step = tracker.next_step(uid, f"{_METRIC_PREFIX}cluster_nodes")
        while not over.wait(EVERY_S):
            try:
                values = sample_machine()
            except (ray.exceptions.RayError, ConnectionError) as error:  # the study itself says what is wrong
                log.debug("no sample: %s", error)
                continue
            tracker.log_metrics(uid, {_METRIC_PREFIX + name: value for name, value in values.items()}, step=step)
            step += 1

    thread = threading.Thread(target=keep_sampling, name="wetakd-system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=2.0)


def sample_machine() -> dict[str, float]:
    """The driver's machine in MLflow's own names, and what of the cluster is claimed; needs a joined cluster."""
    memory = psutil.virtual_memory()
    total, free = ray.cluster_resources(), ray.available_resources()
    claimed = {name: total.get(name, 0.0) - free.get(name, 0.0) for name in ("CPU", "GPU", "object_store_memory")}
    return {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": memory.percent,
        "cluster_nodes": sum(node["Alive"] for node in ray.nodes()),
        "cluster_cpus_claimed": claimed["CPU"],
        "cluster_gpus_claimed": claimed["GPU"],
        "cluster_object_store_megabytes": claimed["object_store_memory"] / 1e6,
    }
