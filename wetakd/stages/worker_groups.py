"""Worker groups of Ray Train: one for each network with `workers: n`, and their end.

A run gets a name that no other has, and its folder is removed afterwards.
"""

from __future__ import annotations

import threading
import uuid
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from wetakd.cluster.capacity import worker_resources
from wetakd.cluster.heartbeat import Process
from wetakd.cluster.worker_group_slots import Slots
from wetakd.config import NetworkConfig
from wetakd.stages.training_run import NetworkInputs, train_loop
from wetakd.storage.addresses import WORKER_GROUPS
from wetakd.storage.atomic_store import Store

# Their annotations are still those of the first version of Ray Train.
_Trainer: Any = TorchTrainer
_Scaling: Any = ScalingConfig


class Stopped(Exception):
    """The driver gives up; raised in its own threads."""


def train_in_group(
    inputs: NetworkInputs, config: NetworkConfig, store: Store, retries: int, slots: Slots, stopped: threading.Event
) -> Exception | None:
    """`workers: n` or `[min, max]`: a worker group of its own, under DDP where it has several workers.

    Blocks until there is a place for it and it has ended. Ray Train restarts its workers, but nobody its controller:
    then the whole group is tried again.

    Raises ray.train.TrainingFailedError when the tries are used up, Stopped where `stopped` is set first.
    """
    # Not as a URI: Train shows its storage path to whoever looks at the dashboard.
    filesystem, folder = store.filesystem_at(WORKER_GROUPS)
    left = retries
    with slots.take(config, stopped):
        while not stopped.is_set():
            name = f"{inputs.job.address.rpartition('/')[2]}-{uuid.uuid4().hex[:8]}"
            trainer = _Trainer(
                train_loop,
                train_loop_config={"inputs": inputs},
                scaling_config=_scaling(config),
                run_config=RunConfig(
                    name=name,
                    storage_path=folder,
                    storage_filesystem=filesystem,
                    failure_config=FailureConfig(max_failures=retries),
                ),
            )
            try:
                error: Exception | None = trainer.fit().return_value
                return error
            except RayActorError:
                if not left:
                    raise
                left -= 1
            finally:
                store.delete(f"{WORKER_GROUPS}/{name}")
    raise Stopped


def _scaling(config: NetworkConfig) -> Any:
    placement = config.placement
    return _Scaling(
        num_workers=config.workers,
        use_gpu=placement.gpus > 0,
        resources_per_worker=worker_resources(placement),
        label_selector=dict(placement.labels) or None,
        placement_strategy="SPREAD",
    )


def end_groups() -> None:
    """Kill the controllers of all worker groups that this driver has started; their workers end with them."""
    from ray.util.state import list_actors

    # Best effort: the state API needs the dashboard, and the driver is about to end anyway. Without an address it gives
    # up where several Ray clusters run on this machine.
    with suppress(Exception):
        context = ray.get_runtime_context()
        alive: list[Any] = [("class_name", "=", "TrainController"), ("state", "=", "ALIVE")]
        alive.append(("job_id", "=", context.get_job_id()))
        for actor in list_actors(address=context.gcs_address, filters=alive):
            if actor.pid and actor.node_id:
                Process(actor.pid, None, actor.node_id).kill()
