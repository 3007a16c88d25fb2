"""The graph of networks on Ray: every node is one Ray Train run, and its logits land in the bank.

Nodes whose teachers are ready run at the same time, each driven from a thread of the driver: `workers: 0` as one Ray
task, `workers: n` as a worker group (see `train_runs`). What is finished lies on storage under its key, so a retried
task, a restarted worker group or another driver goes on where the last one stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.train import TrainingFailedError, WorkerGroupError

from wetakd import bank, imports
from wetakd.assignments import network_address, network_job
from wetakd.cluster.heartbeat import Heartbeat, Voice, Watch
from wetakd.cluster.ray_cluster import Slots, removing_placement_groups, task_options, uses_worker_groups
from wetakd.config import ModelConfig, NetworkConfig, StudyConfig
from wetakd.data.dataset import Dataset
from wetakd.data.views import Views
from wetakd.errors import UserError
from wetakd.plan import NetworkNode, Plan, device_of
from wetakd.storage import failures
from wetakd.storage.failures import Failure
from wetakd.storage.store import Damaged, Manifest, Store
from wetakd.train_runs import Inputs, end_groups, train_here, train_in_group
from wetakd.training import training_job
from wetakd.training.failures import RECORDED, UserFunctionError, errors_of, user_function
from wetakd.training.loop import Epoch
from wetakd.training.training_job import HOPELESS

_POLL_S = 0.25
_MOST_ROUNDS = 8
"""Weights and bank, each of which may be found damaged now and then; far more means that storage is not shared."""


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


def train_networks(
    plan: Plan, store: Store, dataset_ref: ray.ObjectRef[Dataset], watch: Callable[[str, Epoch], None]
) -> dict[tuple[int, str], TrainedNetwork]:
    """Train what storage lacks, in the order of the graph; returns every node by (replicate, name).

    `watch(uid, epoch)` is called in this thread for each epoch heard of. A network that fails costs itself and its
    pupils: its `error` says why. A worker whose heartbeat stops is killed and its network retried.

    Raises UserError where a network's settings turn out wrong.
    """
    heartbeat = Watch(plan.config.limits)
    foreman = _Foreman(plan.config, store, dataset_ref, heartbeat)
    futures: dict[tuple[int, str], Future[TrainedNetwork]] = {}
    pool = ThreadPoolExecutor(len(plan.nodes), thread_name_prefix="network")
    try:
        with removing_placement_groups():
            for node in plan.nodes:
                teachers = [futures[node.replicate, name] for name in node.teachers]
                futures[node.replicate, node.name] = pool.submit(foreman.finish, node, teachers)
            _follow(list(futures.values()), heartbeat, watch)
    except BaseException:
        foreman.stop()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        heartbeat.close()
    return {place: future.result() for place, future in futures.items()}


def _follow(futures: list[Future[TrainedNetwork]], heartbeat: Watch, watch: Callable[[str, Epoch], None]) -> None:
    """Pass on what is heard until all is done; raises what a thread raises, at once."""
    waiting = True
    while waiting:
        waiting = not all(future.done() for future in futures)
        done, _ = wait(futures, timeout=_POLL_S if waiting else 0, return_when=FIRST_EXCEPTION)
        for uid, epoch in heartbeat.hear():
            watch(uid, Epoch.from_dict(epoch))
        for future in done:
            future.result()


class _Stopped(Exception):
    """The driver gives up; said to its own threads."""


class _Foreman:
    """Sees one node after another through: train, bank, object store. Its methods run in threads of the driver."""

    def __init__(
        self, config: StudyConfig, store: Store, dataset_ref: ray.ObjectRef[Dataset], heartbeat: Watch
    ) -> None:
        self._config = config
        self._store = store
        self._dataset_ref = dataset_ref
        self._heartbeat = heartbeat
        self._slots = Slots()
        self._stopped = threading.Event()
        self._running: set[ray.ObjectRef[Any]] = set()

    def stop(self) -> None:
        """End what runs; nodes that wait give up."""
        self._stopped.set()
        for task in tuple(self._running):
            ray.cancel(task, force=True)
        if uses_worker_groups(self._config):
            end_groups()

    def finish(self, node: NetworkNode, teachers: list[Future[TrainedNetwork]]) -> TrainedNetwork:
        """Wait for the teachers, then do what is missing."""
        taught_by = [future.result() for future in teachers]
        failed = [teacher.node.name for teacher in taught_by if teacher.error]
        if failed:
            return TrainedNetwork(node, error=f"its teacher {failed[0]} failed")
        with self._heartbeat.over(node.uid, f"network {node.name} (replicate {node.replicate})"):
            return self._finish(node, [teacher.ref for teacher in taught_by])

    def _finish(self, node: NetworkNode, teacher_banks: list[ray.ObjectRef[pa.Table]]) -> TrainedNetwork:
        try:
            return self._ensure(node, teacher_banks)
        except HOPELESS as error:
            # What a task raises comes with the task's traceback as its text.
            cause = error.cause if isinstance(error, RayTaskError) else error
            if isinstance(cause, UserError):
                raise cause from None
            return self._failed(node, cause)
        except RayTaskError:
            raise  # ours, with its traceback
        except (RayError, TrainingFailedError) as error:
            if (cause := _user_error(error)) is not None:
                return self._failed(node, cause)
            lost = f"its workers died more than {self._config.limits.retries} times"
            reason = self._heartbeat.kill_reason(node.uid) or _last_line(error)
            return TrainedNetwork(node, error=f"{lost}: {reason}")

    def _failed(self, node: NetworkNode, error: BaseException) -> TrainedNetwork:
        """A network without a result; what would happen again is recorded."""
        reason = str(error) or type(error).__name__
        if isinstance(error, RECORDED):
            address = network_address(node.key)
            manifest = self._store.find(address)
            epochs = manifest.facts["epochs"] if manifest else getattr(error, "epochs", ())
            failures.record(self._store, address, Failure(reason, epochs))
        return TrainedNetwork(node, error=reason)

    def _ensure(self, node: NetworkNode, teacher_banks: list[ray.ObjectRef[pa.Table]]) -> TrainedNetwork:
        trained = False
        for _ in range(_MOST_ROUNDS):
            manifest = self._store.find_intact(network_address(node.key))
            table = bank.read(self._store, node.key) if manifest is not None else None
            if table is None and (known := failures.find(self._store, network_address(node.key))) is not None:
                return TrainedNetwork(node, error=known.reason)
            if manifest is None:
                # A bank speaks for the very weights that it was computed from.
                self._store.delete(bank.address(node.key))
                self._train(node, teacher_banks)
                trained = not node.config.is_imported
                continue
            if table is None:
                self._fill_bank(node, manifest)
                continue
            # The driver owns what students read, so no worker's or node's death can take it away, and no node that
            # trained an assistant is kept alive for its sake.
            return TrainedNetwork(node, trained, manifest, ray.put(table))
        raise UserError(
            f"storage: {self._store.shown!r} does not have what a worker wrote there ({node.uid}); give s3://..., "
            "gs://... or a folder that all nodes share"
        )

    def _train(self, node: NetworkNode, teacher_banks: list[ray.ObjectRef[pa.Table]]) -> None:
        if node.config.is_imported:
            imports.adopt(self._store, network_address(node.key), node.config, ray.get(self._dataset_ref), node.name)
            return
        inputs = Inputs(
            network_job(node, self._config, self._store.uri), self._dataset_ref, teacher_banks, self._voice(node)
        )
        if node.config.workers == 0:
            error = self._wait_for(self._voice(node).begin(self._options(node), train_here, inputs))
        else:
            with self._slots.take(node.config, self._stopped):
                error = self._train_in_group(inputs, node.config)
        if error is not None:
            raise error

    def _train_in_group(self, inputs: Inputs, config: NetworkConfig) -> Exception | None:
        """Ray Train starts its workers again, but nobody its controller: then the whole group gets another try."""
        retries = left = self._config.limits.retries
        while True:
            self._check_stopped()
            try:
                return train_in_group(inputs, config, self._store, retries)
            except RayActorError:
                if not left:
                    raise
                left -= 1

    def _fill_bank(self, node: NetworkNode, manifest: Manifest) -> None:
        if node.config.logits is not None:
            dataset = ray.get(self._dataset_ref)
            bank.write(
                self._store, node.key, imports.logits_table(node.config, dataset, self._config.views.num, node.name)
            )
            return
        try:
            self._wait_for(
                self._voice(node).begin(
                    self._options(node),
                    _fill_bank,
                    self._store.uri,
                    node.key,
                    manifest,
                    node.config.model,
                    self._dataset_ref,
                    Views.of(self._config.views),
                    device_of(node.config.placement),
                )
            )
        except Damaged:
            self._store.delete(network_address(node.key))

    def _options(self, node: NetworkNode) -> Mapping[str, Any]:
        return task_options(node.config.placement, self._config.limits.retries) | {"name": node.uid}

    def _voice(self, node: NetworkNode) -> Voice:
        return Voice(node.uid, self._heartbeat.mailbox)

    def _wait_for(self, task: ray.ObjectRef[Any]) -> Any:
        self._running.add(task)
        try:
            self._check_stopped()
            return ray.get(task)
        finally:
            self._running.discard(task)

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise _Stopped


def _fill_bank(
    heartbeat: Heartbeat,
    store_uri: str,
    key: str,
    manifest: Manifest,
    model: ModelConfig,
    dataset: Dataset,
    views: Views,
    device: str,
) -> None:
    store = Store(store_uri)
    with training_job.memory_errors():
        network = training_job.load_model(store, manifest, model, dataset)
        with errors_of(user_function(model.name)):
            table = bank.compute(network, dataset, views, device, heartbeat.beat)
        bank.write(store, key, table)


def _user_error(error: Exception) -> UserFunctionError | None:
    """What the user's function raised on a worker of a group, if that is why the group failed."""
    raised = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    return next((found for found in raised if isinstance(found, UserFunctionError)), None)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
