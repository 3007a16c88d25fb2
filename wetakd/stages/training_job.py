"""One network to train on whatever worker it lands: teacher, assistant and student alike.

A job is plain data; `run_job` builds the network, trains it from the bank of its teachers and commits it under its
address. Running a finished job again only reads what is there, so retries and second drivers cost nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from torch import nn

from wetakd.common.errors import UserError, first_line
from wetakd.config import DistillationConfig, ModelConfig, RecipeConfig, StudyConfig
from wetakd.data.dataset import Dataset
from wetakd.data.views import Views
from wetakd.logits import logit_cache
from wetakd.models.cost import ModelCost, measure_cost
from wetakd.models.registry import input_shape, new_model
from wetakd.plan.outcomes import history
from wetakd.plan.study_plan import evenly
from wetakd.plan.trials import NetworkNode, Student, device_of
from wetakd.storage.addresses import WEIGHTS_BLOB, network_address, student_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.manifest import Manifest
from wetakd.storage.stored_checkpoints import StoredCheckpoints
from wetakd.training.batch_order import World
from wetakd.training.epoch import Epoch
from wetakd.training.failures import RECORDED, DeterministicError, user_function
from wetakd.training.objective import Targets
from wetakd.training.train_state import load_state, state_bytes
from wetakd.training.trainer import Trainer

NON_RETRYABLE = (*RECORDED, MemoryError, torch.OutOfMemoryError, UserError)
"""Errors of one network that another try would meet again: its result is an error row, not a retry."""


@dataclass(frozen=True)
class TrainingJob:
    """All that determines one training, and where its result goes."""

    uid: str
    address: str
    model: ModelConfig
    recipe: RecipeConfig
    precision: str
    seed: int
    views: Views
    device: str
    store_uri: str = field(repr=False)  # may hold credentials, and Ray shows what a run is given
    checkpoint_s: float
    distillation: DistillationConfig | None = None
    weights_K: tuple[float, ...] = ()
    mixture: Literal["probabilities", "logits"] = "probabilities"
    stop_after: int | None = None


def run_job(
    job: TrainingJob,
    dataset: Dataset,
    banks: Sequence[pa.Table] = (),
    world: World = World(),  # noqa: B008 (frozen)
    on_step: Callable[[], None] = lambda: None,
) -> Generator[Epoch, None, None]:
    """Train and commit; yields every epoch from the first, also those that an earlier try has done.

    `banks`: the teachers' bank tables, in the order of `job.weights_K`. Only rank 0 commits, when the last epoch has
    ended on every rank. A job that stops after fewer epochs than its recipe commits nothing: its checkpoint carries
    it on. `on_step` is called after every training step and evaluation batch, on every rank.
    """
    store = Store(job.store_uri)
    finished = _agreed(store.find(job.address), world, job.device)
    if finished is not None:
        yield from (replace(epoch, is_stored=True) for epoch in history(finished))
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
            targets=_targets(job, banks),
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
        store.commit(job.address, {WEIGHTS_BLOB: state_bytes(model)}, _facts(job, size, dataset, done))
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


def _targets(job: TrainingJob, banks: Sequence[pa.Table]) -> Targets | None:
    logits = tuple(logit_cache.logits_of_table(table).fit_VNC for table in banks)
    return Targets(logits, job.weights_K, job.mixture) if logits else None


def _agreed(manifest: Manifest | None, world: World, device: str) -> Manifest | None:
    """`manifest` where every rank has found one, else None: ranks that disagree would wait for each other for ever."""
    if world.size == 1:
        return manifest
    num_found = torch.tensor(int(manifest is not None), device=device)
    dist.all_reduce(num_found)
    return manifest if num_found.item() == world.size else None


def _facts(job: TrainingJob, size: ModelCost, dataset: Dataset, epochs: Sequence[Epoch]) -> dict[str, Any]:
    return {
        "epochs": [epoch.to_dict() for epoch in epochs],
        "train_seconds": sum(epoch.seconds for epoch in epochs),
        "parameters": size.parameters,
        "macs": size.macs,
        "data": dataset.fingerprint,
        "seed": job.seed,
        "precision": job.precision,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "hardware": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.device(job.device).type}",
    }


def load_model(
    store: Store, manifest: Manifest, model: ModelConfig, dataset: Dataset, *, trust_code: bool = True
) -> nn.Module:
    """A finished network with its trained weights; raises DamagedBlob where its file is not what was committed."""
    module = new_model(model, dataset, seed=0, trust_code=trust_code)
    load_state(module, store.read(manifest, WEIGHTS_BLOB).to_pybytes())
    return module


def network_job(node: NetworkNode, config: StudyConfig, store_uri: str) -> TrainingJob:
    """A teacher or an assistant, taught evenly by its teachers."""
    return TrainingJob(
        uid=node.uid,
        address=network_address(node.key),
        model=node.config.model,
        recipe=node.config.recipe,
        precision=node.precision,
        seed=node.seed,
        views=Views.of(config.views),
        device=device_of(node.config.placement),
        store_uri=store_uri,
        checkpoint_s=config.limits.checkpoint_s,
        distillation=node.distillation,
        weights_K=evenly(len(node.teachers)),
        mixture=config.weights.mixture,
    )


def student_job(student: Student, config: StudyConfig, store_uri: str, stop_after: int | None = None) -> TrainingJob:
    """A student, taught by its mixture; to the end, or to epoch `stop_after` for now."""
    return TrainingJob(
        uid=student.key,
        address=student_address(student.key),
        model=student.config.model,
        recipe=student.config.recipe,
        precision=student.precision,
        seed=student.seed,
        views=Views.of(config.views),
        device=device_of(student.config.placement),
        store_uri=store_uri,
        checkpoint_s=config.limits.checkpoint_s,
        distillation=student.config.distillation if student.teacher_keys else None,
        weights_K=student.weights_K,
        mixture=config.weights.mixture,
        stop_after=stop_after,
    )
