"""A real Ray cluster on this machine: a head without CPUs and two nodes with one each, all of them killable."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import ray  # noqa: F401 (its private modules need it)
from ray._private.node import Node
from ray._private.parameter import RayParams
from ray._private.state import GlobalState
from ray._raylet import GcsClientOptions

from tests.ports import free_port

_STORE_BYTES = 150 * 2**20
_LOOK_EVERY_S = 0.1
NUM_NODES = 2
# Waiting workers, and the one detached actor without a CPU that Ray Train starts on a cluster and leaves there.
_RAYS_OWN = ("ray::IDLE", "ray::_AutoscalingCoordinatorActor")
# A lost node or head is noticed within seconds instead of a minute.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray starts workers at 15: on a machine that does other things, too, they would starve and look as if they hung.
    "RAY_worker_niceness": "0",
    # For the S3 server of the campaign, which takes any.
    "AWS_ACCESS_KEY_ID": "any",
    "AWS_SECRET_ACCESS_KEY": "any",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Cluster:
    """Starts when built; `close` ends all of it."""

    def __init__(self) -> None:
        os.environ.update(ENVIRONMENT)
        # The socket paths below it may not be longer than about 100 characters.
        self._folder = tempfile.mkdtemp(prefix="wetakd-faults-", dir="/tmp")
        # Linux ends Ray's processes with the *thread* that started them, and faults strike from threads that end.
        self._starter = ThreadPoolExecutor(1)
        self._nodes: list[Node] = []
        self._workers: list[psutil.Process] = []
        self._looked_at = 0.0
        self._start()

    def _start(self) -> None:
        dashboard: dict[str, object] = {"include_dashboard": True, "dashboard_port": free_port()}
        self._head = self._node(head=True, num_cpus=0, temp_dir=self._folder, **dashboard)
        self._state = GlobalState()
        options = GcsClientOptions.create(self.address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
        self._state._initialize_global_state(options)
        self.heal()

    def _node(self, head: bool, **arguments: object) -> Node:
        parameters = RayParams(object_store_memory=_STORE_BYTES, num_gpus=0, **arguments)
        parameters.update_if_absent(min_worker_port=0, max_worker_port=0)
        if not head:
            parameters.update_if_absent(include_log_monitor=False, node_manager_port=0)
            parameters.dashboard_agent_listen_port = None
        return self._starter.submit(Node, parameters, head=head, shutdown_at_exit=False, spawn_reaper=True).result()

    @property
    def address(self) -> str:
        """For RAY_ADDRESS."""
        address: str = self._head.gcs_address
        return address

    def heal(self) -> None:
        """Replace the nodes that were killed."""
        while len(self._nodes) < NUM_NODES:
            self._nodes.append(self._node(head=False, num_cpus=1, gcs_address=self.address, redis_address=None))
        deadline = time.monotonic() + 60
        while sum(node["Alive"] for node in self._state.node_table()) < 1 + NUM_NODES:
            assert time.monotonic() < deadline, "a node did not come up"
            time.sleep(0.1)

    def kill_node(self, rng: random.Random) -> None:
        """SIGKILL for all processes of Ray itself on one worker node; its workers end with it."""
        self._kill(self._nodes.pop(rng.randrange(len(self._nodes))))

    def restart(self) -> None:
        """SIGKILL for the head, then for the nodes it leaves behind; a new cluster under another address."""
        self._kill(self._head)
        while self._nodes:
            self._kill(self._nodes.pop())
        self._state.disconnect()
        self._start()

    @staticmethod
    def _kill(node: Node) -> None:
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)

    def workers(self) -> list[psutil.Process]:
        """Worker processes of all nodes, busy or not, at most a tenth of a second ago: to look costs CPU."""
        if time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._workers, self._looked_at = self._look(), time.monotonic()
        return list(self._workers)

    def _look(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for node in (self._head, *self._nodes):
            for info in node.all_processes.get("raylet", []):
                try:
                    found += psutil.Process(info.process.pid).children(recursive=True)
                except psutil.NoSuchProcess:
                    continue
        return [process for process in found if title(process).startswith("ray::") and "Agent" not in title(process)]

    def busy(self) -> list[str]:
        """What is still held: working processes, CPUs, placement groups."""
        held = [title(process) for process in self.workers() if not title(process).startswith(_RAYS_OWN)]
        groups = self._state.placement_group_table().values()
        held += [f"placement group {group['placement_group_id']}" for group in groups if group["state"] != "REMOVED"]
        free = sum(node.get("CPU", 0.0) for node in self._state.available_resources_per_node().values())
        return held if free >= NUM_NODES else [*held, f"{NUM_NODES - free:g} CPUs"]

    def close(self) -> None:
        """End every process of the cluster and delete its files."""
        self._state.disconnect()
        for node in (*self._nodes, self._head):
            self._kill(node)
        self._starter.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


def title(process: psutil.Process) -> str:
    """What the process calls itself; empty once it is gone."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    return words[0] if words else ""
