"""The graph of networks on Ray: every node is one Ray Train run, and its logits land in the bank.

Nodes whose teachers are ready run at the same time: `workers: 0` as one Ray task, `workers: n` as a worker group (see
`train_runs`). Each node is a coroutine, so that thousands of them need no thread each; what blocks (storage, worker
groups) runs in pools of bounded size. What is finished lies on storage under its key, so a retried task, a restarted
worker group or another driver goes on where the last one stopped.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from queue import SimpleQueue
from typing import Any, TypeVar

import pyarrow as pa
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.train import TrainingFailedError, WorkerGroupError

from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress, HeartbeatMonitor
from wetakd.cluster.placement_groups import removing_placement_groups
from wetakd.cluster.ray_cluster import uses_worker_groups
from wetakd.cluster.task_options import task_options
from wetakd.cluster.worker_group_slots import Slots
from wetakd.common.errors import UserError, last_line
from wetakd.config import ModelConfig, NetworkConfig, StudyConfig
from wetakd.data.dataset import Dataset
from wetakd.data.views import Views
from wetakd.logits import external_networks, logit_cache
from wetakd.plan.outcomes import TrainedNetwork
from wetakd.plan.study_plan import Plan
from wetakd.plan.trials import NetworkNode, device_of
from wetakd.stages import training_job
from wetakd.stages.training_job import NON_RETRYABLE, network_job
from wetakd.stages.worker_groups import Inputs, end_groups, train_here, train_in_group
from wetakd.storage import failure_records
from wetakd.storage.addresses import logit_cache_address, network_address
from wetakd.storage.atomic_store import DamagedBlob, Store
from wetakd.storage.failure_records import Failure
from wetakd.storage.manifest import Manifest
from wetakd.training.epoch import Epoch
from wetakd.training.failures import RECORDED, UserFunctionError, errors_of, user_function

_Result = TypeVar("_Result")
_FUTURES_POLL_S = 0.25
_STORAGE_THREADS = 16
_GROUP_THREADS = 32
"""Worker groups that run or wait for their turn; each that runs has a controller process as well."""
_MOST_ROUNDS = 8
"""Weights and bank, each of which may be found damaged now and then; far more means that storage is not shared."""


def train_networks(
    plan: Plan,
    store: Store,
    dataset_ref: ray.ObjectRef[Dataset],
    watch: Callable[[str, Epoch], None],
    on_done: Callable[[TrainedNetwork], None] = lambda _: None,
) -> dict[tuple[int, str], TrainedNetwork]:
    """Train what storage lacks, in the order of the graph; returns every node by (replicate, name).

    `watch(uid, epoch)` is called in this thread for each epoch heard of, `on_done(network)` for each network that is
    done. A network that fails costs itself and its pupils: its `error` says why. A worker whose heartbeat stops is
    killed and its network retried.

    Raises UserError where a network's settings turn out wrong. Whatever is raised, all other networks are cancelled.
    """
    monitor = HeartbeatMonitor(plan.config.limits)
    runner = _NetworkRunner(plan.config, store, dataset_ref, monitor)
    try:
        with removing_placement_groups(), _in_background(runner.finish_all(plan.nodes)) as networks:
            _follow(networks, runner.done, monitor, watch, on_done)
            return networks.result()
    except BaseException:
        runner.stop()
        raise
    finally:
        runner.close()
        monitor.close()


@contextmanager
def _in_background(coroutine: Coroutine[Any, Any, _Result]) -> Iterator[Future[_Result]]:
    """Run a coroutine in a thread with an event loop of its own; it is cancelled when the block is left.

    Not in this thread: it may have a running loop already, as in a notebook.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="networks", daemon=True)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        yield future
    finally:
        future.cancel()
        asyncio.run_coroutine_threadsafe(_all_ended(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _all_ended() -> None:
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


def _follow(
    networks: Future[Any],
    done: SimpleQueue[TrainedNetwork],
    monitor: HeartbeatMonitor,
    watch: Callable[[str, Epoch], None],
    on_done: Callable[[TrainedNetwork], None],
) -> None:
    """Pass on what is heard until all is done."""
    waiting = True
    while waiting:
        waiting = not wait([networks], timeout=_FUTURES_POLL_S).done
        for uid, epoch in monitor.poll():
            watch(uid, Epoch.from_dict(epoch))
        while not done.empty():
            on_done(done.get())


class _Stopped(Exception):
    """The driver gives up; said to its own threads."""


class _NetworkRunner:
    """Sees the nodes through: train, bank, object store. Coroutines of one event loop, but for what says otherwise."""

    def __init__(
        self, config: StudyConfig, store: Store, dataset_ref: ray.ObjectRef[Dataset], monitor: HeartbeatMonitor
    ) -> None:
        self._config = config
        self._store = store
        self._dataset_ref = dataset_ref
        self._monitor = monitor
        self._slots = Slots()
        self.done: SimpleQueue[TrainedNetwork] = SimpleQueue()
        """Networks that are done, for the driver's thread."""
        self._stopped = threading.Event()
        self._storage_pool = ThreadPoolExecutor(_STORAGE_THREADS, thread_name_prefix="network-storage")
        self._group_pool = ThreadPoolExecutor(_GROUP_THREADS, thread_name_prefix="network-group")

    def stop(self) -> None:
        """End the worker groups, which cannot be cancelled; called in the driver's thread."""
        self._stopped.set()
        if uses_worker_groups(self._config):
            end_groups()

    def close(self) -> None:
        """Start nothing more; called in the driver's thread."""
        for pool in (self._storage_pool, self._group_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    async def finish_all(self, nodes: Sequence[NetworkNode]) -> dict[tuple[int, str], TrainedNetwork]:
        """Every node, teachers first; the first error cancels all others."""
        tasks: dict[tuple[int, str], asyncio.Task[TrainedNetwork]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for node in nodes:
                    teachers = [tasks[node.replicate, name] for name in node.teachers]
                    tasks[node.replicate, node.name] = group.create_task(self._finish_and_tell(node, teachers))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return {place: task.result() for place, task in tasks.items()}

    async def _finish_and_tell(
        self, node: NetworkNode, teachers: Sequence[asyncio.Task[TrainedNetwork]]
    ) -> TrainedNetwork:
        network = await self._finish(node, teachers)
        self.done.put(network)
        return network

    async def _finish(self, node: NetworkNode, teachers: Sequence[asyncio.Task[TrainedNetwork]]) -> TrainedNetwork:
        """Wait for the teachers, then do what is missing."""
        taught_by = [await teacher for teacher in teachers]
        failed = [teacher.node.name for teacher in taught_by if teacher.error]
        if failed:
            return TrainedNetwork(node, error=f"its teacher {failed[0]} failed")
        with self._monitor.watch(node.uid, f"network {node.name} (replicate {node.replicate})"):
            return await self._attempt(node, [teacher.ref for teacher in taught_by])

    async def _attempt(self, node: NetworkNode, teacher_banks: list[ray.ObjectRef[pa.Table]]) -> TrainedNetwork:
        try:
            return await self._ensure(node, teacher_banks)
        except NON_RETRYABLE as error:
            # What a task raises comes with the task's traceback as its text.
            cause = error.cause if isinstance(error, RayTaskError) else error
            if isinstance(cause, UserError):
                raise cause from None
            return await self._on_storage(self._failed, node, cause)
        except RayTaskError:
            raise  # ours, with its traceback
        except (RayError, TrainingFailedError) as error:
            if (cause := _user_error(error)) is not None:
                return await self._on_storage(self._failed, node, cause)
            lost = f"its workers died more than {self._config.limits.retries} times"
            reason = self._monitor.kill_reason(node.uid) or last_line(error)
            return TrainedNetwork(node, error=f"{lost}: {reason}")

    def _failed(self, node: NetworkNode, error: BaseException) -> TrainedNetwork:
        """A network without a result; what would happen again is recorded. In a thread."""
        reason = str(error) or type(error).__name__
        if isinstance(error, RECORDED):
            address = network_address(node.key)
            manifest = self._store.find(address)
            epochs = manifest.facts["epochs"] if manifest else getattr(error, "epochs", ())
            failure_records.record_failure(self._store, address, Failure(reason, epochs))
        return TrainedNetwork(node, error=reason)

    async def _ensure(self, node: NetworkNode, teacher_banks: list[ray.ObjectRef[pa.Table]]) -> TrainedNetwork:
        trained = False
        for _ in range(_MOST_ROUNDS):
            manifest, network = await self._on_storage(self._stored, node)
            if network is not None:
                return replace(network, trained=trained and network.error is None)
            if manifest is not None:
                await self._fill_bank(node, manifest)
                continue
            # A bank speaks for the very weights that it was computed from.
            await self._on_storage(self._store.delete, logit_cache_address(node.key))
            await self._train(node, teacher_banks)
            trained = not node.config.is_imported
        raise UserError(
            f"storage: {self._store.redacted_uri!r} does not have what a worker wrote there ({node.uid}); "
            "give s3://..., gs://... or a folder that all nodes share"
        )

    def _stored(self, node: NetworkNode) -> tuple[Manifest | None, TrainedNetwork | None]:
        """What storage has of a node: its manifest, and the network if it is finished or failed before. In a thread."""
        manifest = self._store.find_intact(network_address(node.key))
        table = logit_cache.read_cache(self._store, node.key) if manifest is not None else None
        if table is not None:
            # The driver owns what students read, so no worker's or node's death can take it away, and no node that
            # trained an assistant is kept alive for its sake.
            return manifest, TrainedNetwork(node, manifest=manifest, bank_ref=ray.put(table))
        known = failure_records.find_failure(self._store, network_address(node.key))
        return manifest, TrainedNetwork(node, error=known.reason) if known else None

    async def _train(self, node: NetworkNode, teacher_banks: list[ray.ObjectRef[pa.Table]]) -> None:
        if node.config.is_imported:
            await self._on_storage(self._adopt, node)
            return
        job = network_job(node, self._config, self._store.uri)
        inputs = Inputs(job, self._dataset_ref, teacher_banks, self._address(node))
        if node.config.workers == 0:
            error = await self._result(self._address(node).start_task(self._options(node), train_here, inputs))
        else:
            error = await self._in_pool(self._group_pool, self._train_in_group, inputs, node.config)
        if error is not None:
            raise error

    def _adopt(self, node: NetworkNode) -> None:
        external_networks.commit_external(
            self._store, network_address(node.key), node.config, ray.get(self._dataset_ref), node.name
        )

    def _train_in_group(self, inputs: Inputs, config: NetworkConfig) -> Exception | None:
        """In a thread. Ray Train restarts its workers, but nobody its controller: the whole group is tried again."""
        retries = left = self._config.limits.retries
        with self._slots.take(config, self._stopped):
            while True:
                if self._stopped.is_set():
                    raise _Stopped
                try:
                    return train_in_group(inputs, config, self._store, retries)
                except RayActorError:
                    if not left:
                        raise
                    left -= 1

    async def _fill_bank(self, node: NetworkNode, manifest: Manifest) -> None:
        if node.config.logits is not None:
            await self._on_storage(self._copy_logits, node)
            return
        try:
            await self._result(
                self._address(node).start_task(
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
        except DamagedBlob:
            await self._on_storage(self._store.delete, network_address(node.key))

    def _copy_logits(self, node: NetworkNode) -> None:
        dataset = ray.get(self._dataset_ref)
        table = external_networks.logits_table(node.config, dataset, self._config.views.num, node.name)
        logit_cache.write_cache(self._store, node.key, table)

    def _options(self, node: NetworkNode) -> Mapping[str, Any]:
        return task_options(node.config.placement, self._config.limits.retries) | {"name": node.uid}

    def _address(self, node: NetworkNode) -> HeartbeatAddress:
        return HeartbeatAddress(node.uid, self._monitor.mailbox)

    async def _result(self, task: ray.ObjectRef[Any]) -> Any:
        try:
            return await task
        except asyncio.CancelledError:
            ray.cancel(task, force=True)
            raise

    async def _on_storage(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        return await self._in_pool(self._storage_pool, function, *arguments)

    async def _in_pool(self, pool: ThreadPoolExecutor, function: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


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
            table = logit_cache.compute_logits(network, dataset, views, device, heartbeat.beat)
        logit_cache.write_cache(store, key, table)


def _user_error(error: Exception) -> UserFunctionError | None:
    """What the user's function raised on a worker of a group, if that is why the group failed."""
    raised = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    return next((found for found in raised if isinstance(found, UserFunctionError)), None)
