"""The graph of networks on Ray: every node is one Ray Train run, and its logits land in the bank.

Nodes whose teachers are ready run at the same time, each driven from a thread of the driver. `workers: 0` is one Ray
task with Train's local mode inside (milliseconds on a warm worker); `workers: n` is a full Train run with a worker
group of its own. Both run the same loop, which owns its checkpoints and commits the network under its key, so a
retried task, a restarted worker group or another driver goes on where the last one stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context, report
from ray.train.torch import TorchTrainer

from wetakd import bank, training_job
from wetakd.cluster import Slots, task_options, worker_resources
from wetakd.config import ModelConfig, NetworkConfig, StudyConfig
from wetakd.data import Dataset
from wetakd.plan import NetworkNode, Plan, device_of, evenly
from wetakd.storage import Damaged, Manifest, Store
from wetakd.training import Diverged, Epoch, World
from wetakd.training_job import TrainingJob
from wetakd.views import Views

Watch = Callable[[str, Epoch], None]
_POLL_S = 0.25


@dataclass(frozen=True)
class TrainedNetwork:
    """A node that is done: its manifest and its bank in the object store, or the reason why there is none."""

    node: NetworkNode
    trained: bool = False
    manifest: Manifest | None = None
    bank_ref: ray.ObjectRef[pa.Table] | None = None
    error: str | None = None

    @property
    def ref(self) -> ray.ObjectRef[pa.Table]:
        """Its bank; only for a network that did not fail."""
        assert self.bank_ref is not None, f"{self.node.uid} has no bank"
        return self.bank_ref


class Reports:
    """The mailbox for signs of life from workers. Nothing rests on it: a finished network carries its own history."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, Epoch]] = []

    def push(self, uid: str, epoch: Epoch) -> None:
        """Leave one epoch."""
        self._waiting.append((uid, epoch))

    def drain(self) -> list[tuple[str, Epoch]]:
        """Take what has come since the last call."""
        taken, self._waiting = self._waiting, []
        return taken


def address(key: str) -> str:
    """Where the network `key` lies on storage."""
    return f"networks/{key}"


def train_networks(
    plan: Plan, store: Store, dataset_ref: ray.ObjectRef[Dataset], watch: Watch
) -> dict[tuple[int, str], TrainedNetwork]:
    """Train what storage lacks, in the order of the graph; returns every node by (replicate, name).

    `watch(uid, epoch)` is called in this thread for each epoch heard of. A network that fails costs itself and its
    pupils: its `error` says why.
    """
    reports = ray.remote(num_cpus=0, max_restarts=-1)(Reports).remote()
    foreman = _Foreman(plan.config, store, dataset_ref, reports)
    futures: dict[tuple[int, str], Future[TrainedNetwork]] = {}
    with ThreadPoolExecutor(len(plan.nodes), thread_name_prefix="network") as pool:
        try:
            for node in plan.nodes:
                teachers = [futures[node.replicate, name] for name in node.teachers]
                futures[node.replicate, node.name] = pool.submit(foreman.finish, node, teachers)
            while wait(futures.values(), timeout=_POLL_S).not_done:
                _hear(reports, watch)
            _hear(reports, watch)
        except BaseException:
            foreman.stop()
            raise
        finally:
            ray.kill(reports)
    return {place: future.result() for place, future in futures.items()}


def _hear(reports: Any, watch: Watch) -> None:
    try:
        for uid, epoch in ray.get(reports.drain.remote()):
            watch(uid, epoch)
    except RayActorError:
        pass  # the mailbox is being restarted; histories are whole all the same


class _Foreman:
    """Sees one node after another through: train, bank, object store. Its methods run in threads of the driver."""

    def __init__(
        self, config: StudyConfig, store: Store, dataset_ref: ray.ObjectRef[Dataset], reports: Any
    ) -> None:
        self._config = config
        self._store = store
        self._dataset_ref = dataset_ref
        self._reports = reports
        self._slots = Slots()
        self._stopped = threading.Event()
        self._running: set[ray.ObjectRef[Any]] = set()

    def stop(self) -> None:
        """End what runs; nodes that wait give up."""
        self._stopped.set()
        for task in tuple(self._running):
            ray.cancel(task, force=True)

    def finish(self, node: NetworkNode, teachers: list[Future[TrainedNetwork]]) -> TrainedNetwork:
        """Wait for the teachers, then train what is missing."""
        taught_by = [future.result() for future in teachers]
        failed = [teacher.node.name for teacher in taught_by if teacher.error]
        if failed:
            return TrainedNetwork(node, error=f"its teacher {failed[0]} failed")
        try:
            return self._ensure(node, [teacher.bank_ref for teacher in taught_by if teacher.bank_ref is not None])
        except (Diverged, FloatingPointError) as error:
            return TrainedNetwork(node, error=str(error))

    def _ensure(self, node: NetworkNode, teacher_banks: list[ray.ObjectRef[pa.Table]]) -> TrainedNetwork:
        trained = False
        while True:
            manifest = self._store.find(address(node.key))
            if manifest is None:
                self._train(node, teacher_banks)
                trained = True
                continue
            table = bank.read(self._store, node.key)
            if table is None:
                try:
                    self._wait_for(self._bank_task(node, manifest))
                except Damaged:
                    self._store.delete(address(node.key))
                continue
            # The driver owns what students read, so no worker's or node's death can take it away, and no node that
            # trained an assistant is kept alive for its sake.
            return TrainedNetwork(node, trained, manifest, ray.put(table))

    def _train(self, node: NetworkNode, teacher_banks: list[ray.ObjectRef[pa.Table]]) -> None:
        job = TrainingJob(
            uid=node.uid,
            address=address(node.key),
            model=node.config.model,
            recipe=node.config.recipe,
            precision=node.precision,
            seed=node.seed,
            views=Views.of(self._config.views),
            device=device_of(node.config.placement),
            store_uri=self._store.uri,
            checkpoint_s=self._config.limits.checkpoint_s,
            distillation=node.distillation,
            weights_K=evenly(len(teacher_banks)),
            mixture=self._config.weights.mixture,
        )
        inputs = {"job": job, "dataset": self._dataset_ref, "banks": teacher_banks, "reports": self._reports}
        if node.config.workers == 0:
            self._wait_for(_train_here.options(**self._options(node)).remote(inputs))
        else:
            with self._slots.take(node.config, self._stopped):
                _train_in_group(node, inputs, self._store, self._config.limits.retries)

    def _bank_task(self, node: NetworkNode, manifest: Manifest) -> ray.ObjectRef[None]:
        return _fill_bank.options(**self._options(node)).remote(
            self._store.uri,
            node.key,
            manifest,
            node.config.model,
            self._dataset_ref,
            Views.of(self._config.views),
            device_of(node.config.placement),
        )

    def _options(self, node: NetworkNode) -> Mapping[str, Any]:
        return task_options(node.config.placement, self._config.limits.retries) | {"name": node.uid}

    def _wait_for(self, task: ray.ObjectRef[Any]) -> None:
        self._running.add(task)
        try:
            if not self._stopped.is_set():
                ray.get(task)
        finally:
            self._running.discard(task)


def _loop(inputs: dict[str, Any]) -> None:
    """The loop that Ray Train runs on every worker, in both modes."""
    job: TrainingJob = inputs["job"]
    context = get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    for epoch in training_job.run(job, ray.get(inputs["dataset"]), ray.get(inputs["banks"]), world):
        if world.rank == 0:
            inputs["reports"].push.remote(job.uid, epoch)
        report(epoch.to_dict())


@ray.remote
def _train_here(inputs: dict[str, Any]) -> None:
    """`workers: 0`: Ray Train's local mode in this very task."""
    TorchTrainer(_loop, train_loop_config=inputs, scaling_config=ScalingConfig(num_workers=0)).fit()


def _train_in_group(node: NetworkNode, inputs: dict[str, Any], store: Store, retries: int) -> None:
    """`workers: n`: a Ray Train worker group of its own."""
    placement = node.config.placement
    asked: dict[str, Any] = {
        "num_workers": node.config.workers,
        "use_gpu": placement.gpus > 0,
        "resources_per_worker": worker_resources(placement),
        "label_selector": dict(placement.labels) or None,
        "placement_strategy": "SPREAD",
    }
    run_config = RunConfig(
        name=f"{node.key}",
        storage_path=f"{store.uri.rstrip('/')}/train",
        failure_config=FailureConfig(max_failures=retries),
    )
    TorchTrainer(_loop, train_loop_config=inputs, scaling_config=ScalingConfig(**asked), run_config=run_config).fit()


@ray.remote
def _fill_bank(
    store_uri: str, key: str, manifest: Manifest, model: ModelConfig, dataset: Dataset, views: Views, device: str
) -> None:
    store = Store(store_uri)
    bank.write(store, key, bank.compute(training_job.load_model(store, manifest, model, dataset), dataset, views, device))
