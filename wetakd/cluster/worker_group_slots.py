"""Admission of Ray Train worker groups: no more at a time than the cluster can hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import ray

from wetakd.cluster.capacity import is_growing, num_workers, worker_resources
from wetakd.config import NetworkConfig

_MOST_GROUPS = 16
"""Worker groups that may wait together for an autoscaler: each has a process beside the driver."""


class Slots:
    """Lets only as many worker groups run as the cluster can hold at once: more would starve each other.

    Where an autoscaler adds nodes, groups that wait are what it adds them for, so some of them may.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken: dict[str, float] = {}
        self._num_groups = 0

    @contextmanager
    def take(self, config: NetworkConfig, stopped: threading.Event) -> Iterator[None]:
        """Wait until this network's workers fit beside the groups that run, then hold their place."""
        need = {name: amount * num_workers(config) for name, amount in worker_resources(config.placement).items()}
        with self._free:
            while not self._fits(need) and not stopped.is_set():
                self._free.wait(timeout=1.0)
            self._add(need, 1)
        try:
            yield
        finally:
            with self._free:
                self._add(need, -1)
                self._free.notify_all()

    def _fits(self, need: Mapping[str, float]) -> bool:
        if not self._taken or (self._num_groups < _MOST_GROUPS and is_growing()):
            return True
        total = ray.cluster_resources()
        return all(self._taken.get(name, 0.0) + amount <= total.get(name, 0.0) for name, amount in need.items())

    def _add(self, need: Mapping[str, float], sign: int) -> None:
        self._num_groups += sign
        for name, amount in need.items():
            self._taken[name] = self._taken.get(name, 0.0) + sign * amount
        self._taken = {name: amount for name, amount in self._taken.items() if amount > 0}
