"""One network as one Ray Train run: in this very task, or on a worker group of its own.

Both modes run the same loop. It owns its checkpoints and commits the network under its key, so Train keeps nothing:
a run gets a name that no other has, and its folder is removed afterwards.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context, report
from ray.train.torch import TorchTrainer, get_device

from wetakd.cluster.capacity import worker_resources
from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress, Process
from wetakd.common.errors import UserError
from wetakd.config import NetworkConfig
from wetakd.data.dataset import Dataset
from wetakd.stages import training_job
from wetakd.stages.training_job import NON_RETRYABLE, TrainingJob
from wetakd.storage.addresses import WORKER_GROUPS
from wetakd.storage.atomic_store import Store
from wetakd.training.batch_order import World
from wetakd.training.trainer import Diverged

# Their annotations are still those of the first version of Ray Train.
_Trainer: Any = TorchTrainer
_Scaling: Any = ScalingConfig


@dataclass(frozen=True, eq=False)
class Inputs:
    """What every worker of a run gets: references only."""

    job: TrainingJob
    dataset_ref: ray.ObjectRef[Dataset]
    bank_refs: Sequence[ray.ObjectRef[pa.Table]]
    address: HeartbeatAddress


def _loop(inputs: dict[str, Inputs]) -> Exception | None:
    """What Ray Train runs on every worker; returns the error that another try would meet again."""
    given = inputs["inputs"]
    job, context, heartbeat = given.job, get_context(), Heartbeat(given.address)
    world = World(context.get_world_rank(), context.get_world_size())
    try:
        dataset, banks = ray.get(given.dataset_ref), ray.get(list(given.bank_refs))
        for epoch in training_job.run_job(job, dataset, banks, world, heartbeat.beat):
            if world.rank == 0:
                heartbeat.epoch(epoch.to_message())
            report(epoch.to_dict())
    except NON_RETRYABLE as error:
        # Of several ranks, the one that lacks memory must fail, or the others would wait for it for ever.
        if world.size > 1 and not isinstance(error, Diverged | UserError):
            raise
        return error
    return None


def _loop_in_group(inputs: dict[str, Inputs]) -> Exception | None:
    """The same on each rank of a worker group, which no task has started with a heartbeat."""
    given = inputs["inputs"]
    heartbeat = Heartbeat(given.address)
    heartbeat.start()
    try:
        return _loop({"inputs": replace(given, job=on_own_device(given.job))})
    finally:
        heartbeat.end()


def on_own_device(job: TrainingJob) -> TrainingJob:
    """The job on the GPU of this rank of a worker group; as it is where it trains on the CPU.

    Ray Train lets every rank see the GPUs of all ranks on its node, so "cuda" would be the same GPU for all of them.
    A Ray task or a Tune trial sees its own GPUs only: there "cuda" is right.
    """
    if torch.device(job.device).type != "cuda":
        return job
    device = get_device()
    torch.cuda.set_device(device)
    return replace(job, device=str(device))


def train_here(_: Heartbeat, inputs: Inputs) -> Exception | None:
    """`workers: 0`: Ray Train's local mode in this task, which costs milliseconds on a warm worker."""
    trainer = _Trainer(_loop, train_loop_config={"inputs": inputs}, scaling_config=_Scaling(num_workers=0))
    error: Exception | None = trainer.fit().return_value
    return error


def train_in_group(inputs: Inputs, config: NetworkConfig, store: Store, retries: int) -> Exception | None:
    """`workers: n` or `[min, max]`: a worker group of its own, under DDP where it has several workers.

    Blocks. Raises ray.train.TrainingFailedError when the tries are used up.
    """
    name = f"{inputs.job.address.rpartition('/')[2]}-{uuid.uuid4().hex[:8]}"
    # Not as a URI: Train shows its storage path to whoever looks at the dashboard.
    filesystem, folder = store.filesystem_at(WORKER_GROUPS)
    trainer = _Trainer(
        _loop_in_group,
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
    finally:
        store.delete(f"{WORKER_GROUPS}/{name}")


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

    # Best effort: the state API needs the dashboard, and the driver is about to end anyway.
    with suppress(Exception):
        mine = ("job_id", "=", ray.get_runtime_context().get_job_id())
        for actor in list_actors(filters=[("class_name", "=", "TrainController"), ("state", "=", "ALIVE"), mine]):
            if actor.pid and actor.node_id:
                Process(actor.pid, None, actor.node_id).kill()
