"""One training on whatever worker it lands: in a Ray task, on a rank of a worker group, or in a Tune trial.

`run_job` builds the network, trains it from the logit caches of its teachers and commits it under its address. Running
a finished job again only reads what is there, so retries and second drivers cost nothing. Both modes of Ray Train run
`train_loop`. It owns its checkpoints and commits the network under its key, so Train keeps nothing.
Only they need Ray, and import it: `run_job` and `load_model` work without.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from torch import nn

from wetakd.common.errors import UserError, first_line
from wetakd.config import ModelConfig
from wetakd.data.dataset import Dataset
from wetakd.logits import logit_cache
from wetakd.models.cost import ModelCost, measure_cost
from wetakd.models.registry import input_shape, new_model
from wetakd.stages.training_job import TrainingJob
from wetakd.storage.addresses import WEIGHTS_BLOB
from wetakd.storage.atomic_store import Store
from wetakd.storage.manifest import Manifest
from wetakd.storage.stored_checkpoints import StoredCheckpoints
from wetakd.storage.training_facts import TrainingFacts, TrainingProvenance
from wetakd.training.batch_order import World
from wetakd.training.epoch import Epoch
from wetakd.training.failures import RECORDED, DeterministicError, user_function
from wetakd.training.objective import Targets
from wetakd.training.train_state import load_state, state_bytes
from wetakd.training.trainer import Diverged, Trainer

if TYPE_CHECKING:
    import ray

    from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress

NON_RETRYABLE = (*RECORDED, MemoryError, torch.OutOfMemoryError, UserError)
"""Errors of one network that another try would meet again: its result is an error row, not a retry."""


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """What every worker that trains a network gets: references only."""

    job: TrainingJob
    dataset_ref: ray.ObjectRef[Dataset]
    cache_refs: Sequence[ray.ObjectRef[pa.Table]]
    heartbeat_address: HeartbeatAddress
    in_group: bool
    """Whether this is a rank of a worker group, which no task has started with a heartbeat."""


def train_in_task(_: Heartbeat, inputs: NetworkInputs) -> Exception | None:
    """`workers: 0`: Ray Train's local mode in this task, which costs milliseconds on a warm worker."""
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    trainer_class: Any = TorchTrainer  # its annotations are still those of the first version of Ray Train
    scaling_class: Any = ScalingConfig
    trainer = trainer_class(
        train_loop, train_loop_config={"inputs": inputs}, scaling_config=scaling_class(num_workers=0)
    )
    error: Exception | None = trainer.fit().return_value
    return error


def train_loop(config: dict[str, NetworkInputs]) -> Exception | None:
    """What Ray Train runs on every worker; returns the error that another try would meet again."""
    import ray
    from ray.train import get_context, report

    from wetakd.cluster.heartbeat import Heartbeat

    inputs = config["inputs"]
    heartbeat, context = Heartbeat(inputs.heartbeat_address), get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    with heartbeat.running() if inputs.in_group else nullcontext():
        job = on_own_device(inputs.job) if inputs.in_group else inputs.job
        try:
            dataset, caches = ray.get(inputs.dataset_ref), ray.get(list(inputs.cache_refs))
            for epoch in run_job(job, dataset, caches, world, heartbeat.beat):
                if world.rank == 0:
                    heartbeat.epoch(epoch.to_message())
                report(epoch.to_dict())
        except NON_RETRYABLE as error:
            # Of several ranks, the one that lacks memory must fail, or the others would wait for it for ever.
            if world.size > 1 and not isinstance(error, Diverged | UserError):
                raise
            return error
    return None


def on_own_device(job: TrainingJob) -> TrainingJob:
    """The job on the GPU of this rank of a worker group; as it is where it trains on the CPU.

    Ray Train lets every rank see the GPUs of all ranks on its node, so "cuda" would be the same GPU for all of them.
    A Ray task or a Tune trial sees its own GPUs only: there "cuda" is right.
    """
    if torch.device(job.device).type != "cuda":
        return job
    from ray.train.torch import get_device

    device = get_device()
    torch.cuda.set_device(device)
    return replace(job, device=str(device))


def run_job(
    job: TrainingJob,
    dataset: Dataset,
    caches: Sequence[pa.Table] = (),
    world: World = World(),  # noqa: B008 (frozen)
    on_step: Callable[[], None] = lambda: None,
) -> Generator[Epoch, None, None]:
    """Train and commit; yields every epoch from the first, also those that an earlier try has done.

    `caches`: the teachers' logit caches, in the order of `job.weights_K`. Only rank 0 commits, when the last epoch has
    ended on every rank. A job that stops after fewer epochs than its recipe commits nothing: its checkpoint carries
    it on. `on_step` is called after every training step and evaluation batch, on every rank.
    """
    store = Store(job.store_uri)
    finished = _agreed(store.find(job.address), world, job.device)
    if finished is not None:
        yield from (replace(epoch, is_stored=True) for epoch in TrainingFacts.from_manifest(finished).epochs)
        return
    # Before training, so that a network whose cost cannot be determined is not trained in vain; on a network of its
    # own, because a forward pass may change more than weights.
    size = measure_cost(new_model(job.model, dataset, job.seed), input_shape(dataset))
    model = new_model(job.model, dataset, job.seed)
    checkpoints = StoredCheckpoints.at(store, job.address)
    done: list[Epoch] = []
    with memory_errors(), with_epochs(done):
        trainer = Trainer(
            model,
            dataset,
            job.views,
            job.recipe,
            seed=job.seed,
            precision=job.precision,
            device=job.device,
            distillation=job.distillation,
            targets=_targets(job, caches),
            world=world,
            checkpoints=checkpoints,
            checkpoint_s=job.checkpoint_s,
            user_model=user_function(job.model.name),
            on_step=on_step,
        )
        # Closed early, a training leaves a checkpoint behind.
        with closing(trainer.train()) as epochs:
            for epoch in epochs:
                done.append(epoch)
                yield epoch
                if epoch.epoch == job.stop_after and epoch.epoch < job.recipe.epochs:
                    return
    if world.rank == 0:
        facts = _facts(job, size, dataset, done)
        store.commit(job.address, {WEIGHTS_BLOB: state_bytes(model)}, facts.to_dict(), job.payload)
        checkpoints.clear()


@contextmanager
def memory_errors() -> Iterator[None]:
    """On the CPU, torch says by a RuntimeError that there is no memory."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise MemoryError(f"out of memory: {first_line(error)}") from error
        raise


@contextmanager
def with_epochs(done: Sequence[Epoch]) -> Iterator[None]:
    """Add the epochs in `done` to a failure that will be recorded."""
    try:
        yield
    except DeterministicError as error:
        error.epochs = [epoch.to_dict() for epoch in done]
        raise


def _targets(job: TrainingJob, caches: Sequence[pa.Table]) -> Targets | None:
    logits = tuple(logit_cache.logits_of_table(table).fit_VNC for table in caches)
    return Targets(logits, job.weights_K, job.mixture) if logits else None


def _agreed(manifest: Manifest | None, world: World, device: str) -> Manifest | None:
    """`manifest` where every rank has found one, else None: ranks that disagree would wait for each other for ever."""
    if world.size == 1:
        return manifest
    num_found = torch.tensor(int(manifest is not None), device=device)
    dist.all_reduce(num_found)
    return manifest if num_found.item() == world.size else None


def _facts(job: TrainingJob, size: ModelCost, dataset: Dataset, epochs: Sequence[Epoch]) -> TrainingFacts:
    hardware = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.device(job.device).type}"
    return TrainingFacts(
        epochs=tuple(epochs),
        train_seconds=sum(epoch.seconds for epoch in epochs),
        parameters=size.parameters,
        macs=size.macs,
        data=dataset.fingerprint,
        provenance=TrainingProvenance(job.seed, job.precision, torch.__version__, np.__version__, hardware),
    )


def load_model(
    store: Store, manifest: Manifest, model: ModelConfig, dataset: Dataset, *, trust_code: bool = True
) -> nn.Module:
    """A finished network with its trained weights; raises DamagedBlob where its file is not what was committed."""
    module = new_model(model, dataset, seed=0, trust_code=trust_code)
    load_state(module, store.read(manifest, WEIGHTS_BLOB).to_pybytes())
    return module
