"""The graph of networks on Ray: every node is one Ray Train run, and its logits are stored in a logit cache.

Nodes whose teachers are ready run at the same time: `workers: 0` as one Ray task, `workers: n` as a worker group (see
`worker_groups`). Each node is a coroutine, so that thousands of them need no thread each; what blocks (storage, worker
groups) runs in pools of bounded size. What is finished is stored under its key, so a retried task, a restarted worker
group or another driver goes on where the last one stopped.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError
from ray.train import TrainingFailedError, WorkerGroupError

from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress, HeartbeatMonitor
from wetakd.cluster.placement_groups import removing_placement_groups
from wetakd.cluster.ray_cluster import uses_worker_groups
from wetakd.cluster.task_options import task_options
from wetakd.cluster.worker_group_slots import Slots
from wetakd.common.errors import UserError, last_line
from wetakd.config import ModelConfig
from wetakd.data.dataset import Dataset
from wetakd.data.views import Views
from wetakd.logits import external_networks, logit_cache
from wetakd.plan.key_payloads import cache_payload
from wetakd.plan.outcomes import TrainedNetwork
from wetakd.plan.result_keys import cache_key
from wetakd.plan.trials import NetworkNode, device_of
from wetakd.stages.background_loop import background_event_loop
from wetakd.stages.epoch_progress import EpochCounter
from wetakd.stages.study_context import StudyContext
from wetakd.stages.training_job import network_job
from wetakd.stages.training_run import NON_RETRYABLE, NetworkInputs, load_model, memory_errors, train_in_task
from wetakd.stages.worker_groups import end_groups, train_in_group
from wetakd.storage import failure_records
from wetakd.storage.addresses import network_address
from wetakd.storage.atomic_store import DamagedBlob, Store
from wetakd.storage.failure_records import Failure
from wetakd.storage.manifest import Manifest
from wetakd.storage.training_facts import TrainingFacts
from wetakd.training.epoch import Epoch
from wetakd.training.failures import RECORDED, UserFunctionError, errors_of, user_function

_Result = TypeVar("_Result")
_FUTURES_POLL_S = 0.25
_STORAGE_THREADS = 16
_GROUP_THREADS = 32
"""Worker groups that run or wait for their turn; each that runs has a controller process as well."""
_MOST_ROUNDS = 8
"""Weights and cache, each of which may be found damaged now and then; far more means that storage is not shared."""


def train_networks(study: StudyContext) -> dict[tuple[int, str], TrainedNetwork]:
    """Train the teachers and assistants that storage lacks, with their logit caches, in the order of the graph.

    Returns every node by (replicate, name). A network that fails costs itself and its pupils: its `error` says why. A
    worker whose heartbeat stops is killed and its network retried.

    Raises UserError where a network's settings turn out wrong. Whatever is raised, all other networks are cancelled.
    """
    nodes = {node.uid: node for node in study.plan.nodes}
    with study.stage("networks", sum(node.config.recipe.epochs for node in nodes.values())) as stage:
        counter = EpochCounter(stage)
        monitor = HeartbeatMonitor(study.config.limits)
        runner = _NetworkRunner(study, monitor)
        try:
            with removing_placement_groups(), background_event_loop("networks") as loop:
                running: dict[tuple[int, str], Future[TrainedNetwork]] = {}
                for node in study.plan.nodes:
                    teachers = [running[node.replicate, name] for name in node.teachers]
                    running[node.replicate, node.name] = asyncio.run_coroutine_threadsafe(
                        runner.finish(node, teachers), loop
                    )
                waiting = set(running.values())
                while waiting:
                    done, waiting = wait(waiting, timeout=_FUTURES_POLL_S, return_when=FIRST_EXCEPTION)
                    for uid, epoch in monitor.poll():
                        _report_epoch(study, counter, nodes[uid], Epoch.from_dict(epoch))
                    for future in running.values():
                        if future in done:
                            _report_end(counter, future.result())
        except BaseException:
            runner.stop()
            raise
        finally:
            runner.close()
            monitor.close()
    networks = {place: future.result() for place, future in running.items()}
    for network in networks.values():
        study.study_logger.log_network_end(network)
        if network.error:
            study.reporter.message(f"failed    {network.node.uid}: {network.error}")
    return networks


def _report_epoch(study: StudyContext, counter: EpochCounter, node: NetworkNode, epoch: Epoch) -> None:
    study.study_logger.log_network_epoch(node, epoch)
    counter.reported(node.uid, node.name, epoch, node.config.recipe.epochs)


def _report_end(counter: EpochCounter, network: TrainedNetwork) -> None:
    node = network.node
    counter.finish(node.uid, node.name, node.config.recipe.epochs, is_stored=not network.trained)


class _NetworkRunner:
    """Trains nodes and fills their logit caches. Coroutines of one event loop, but for what says otherwise."""

    def __init__(self, study: StudyContext, monitor: HeartbeatMonitor) -> None:
        self._config = study.config
        self._store = study.store
        self._dataset_ref = study.dataset_ref
        self._monitor = monitor
        self._slots = Slots()
        self._tasks: dict[str, ray.ObjectRef[Any]] = {}
        """The last Ray task of each node."""
        self._stopped = threading.Event()
        self._storage_pool = ThreadPoolExecutor(_STORAGE_THREADS, thread_name_prefix="network-storage")
        self._group_pool = ThreadPoolExecutor(_GROUP_THREADS, thread_name_prefix="network-group")

    def stop(self) -> None:
        """Cancel tasks and end worker groups, which cannot be cancelled; called in the driver's thread."""
        self._stopped.set()
        for task in self._tasks.values():
            ray.cancel(task, force=True)
        if uses_worker_groups(self._config):
            end_groups()

    def close(self) -> None:
        """Start nothing more; called in the driver's thread."""
        for pool in (self._storage_pool, self._group_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    async def finish(self, node: NetworkNode, teachers: Sequence[Future[TrainedNetwork]]) -> TrainedNetwork:
        """Wait for the teachers, then do what is missing."""
        results = await asyncio.gather(*map(asyncio.wrap_future, teachers), return_exceptions=True)
        taught_by = [result for result in results if isinstance(result, TrainedNetwork)]
        if len(taught_by) < len(teachers):
            raise asyncio.CancelledError  # the error of a teacher ends the study
        failed = [teacher.node.name for teacher in taught_by if teacher.error]
        if failed:
            return TrainedNetwork(node, error=f"its teacher {failed[0]} failed")
        trained = False
        with self._monitor.watch(node.uid, f"network {node.name} (replicate {node.replicate})"):
            try:
                for _ in range(_MOST_ROUNDS):
                    manifest, network = await self._on_storage(self._stored, node)
                    if network is not None:
                        return replace(network, trained=trained and network.error is None)
                    if manifest is not None:
                        await self._fill_cache(node, manifest)
                        continue
                    if node.config.is_imported:
                        await self._on_storage(self._commit_external, node)
                        continue
                    inputs = self._inputs(node, [teacher.ref for teacher in taught_by])
                    if node.config.workers == 0:
                        error = await self._start_task(node, train_in_task, inputs)
                    else:
                        error = await self._start_group(node, inputs)
                    if error is not None:
                        raise error
                    trained = True
            except Exception as error:
                network = await self._on_storage(self._failure, node, error)
                if network is None:
                    raise
                return network
        raise UserError(
            f"storage: {self._store.redacted_uri!r} does not have what a worker wrote there ({node.uid}); "
            "give s3://..., gs://... or a folder that all nodes share"
        )

    def _stored(self, node: NetworkNode) -> tuple[Manifest | None, TrainedNetwork | None]:
        """What storage has of a node: its manifest, and the network if it is finished or failed before. In a thread."""
        manifest = self._store.find_intact(network_address(node.key))
        cache = logit_cache.read_cache(self._store, cache_key(node, manifest)) if manifest is not None else None
        if cache is not None:
            # The driver owns what students read, so no worker's or node's death can take it away, and no node that
            # trained an assistant is kept alive for its sake.
            return manifest, TrainedNetwork(
                node, manifest=manifest, cache_ref=ray.put(cache.table), cache_digest=cache.digest
            )
        known = failure_records.find_failure(self._store, network_address(node.key))
        return manifest, TrainedNetwork(node, error=known.reason) if known else None

    def _failure(self, node: NetworkNode, error: Exception) -> TrainedNetwork | None:
        """The network that `error` has cost; None where the error is ours. What would happen again is recorded.

        In a thread. Raises UserError where the settings are wrong.
        """
        cause: BaseException | None = None
        if isinstance(error, NON_RETRYABLE):
            # What a task raises comes with the task's traceback as its text.
            cause = error.cause if isinstance(error, RayTaskError) else error
            if isinstance(cause, UserError):
                raise cause from None
        elif isinstance(error, RayTaskError) or not isinstance(error, RayError | TrainingFailedError):
            return None
        else:
            cause = _user_error(error)
        if cause is None:
            lost = f"its workers died more than {self._config.limits.retries} times"
            reason = self._monitor.kill_reason(node.uid) or last_line(error)
            return TrainedNetwork(node, error=f"{lost}: {reason}")
        reason = str(cause) or type(cause).__name__
        if isinstance(cause, RECORDED):
            address = network_address(node.key)
            manifest = self._store.find(address)
            epochs: Sequence[Mapping[str, Any]] = getattr(cause, "epochs", ())
            if manifest is not None:
                epochs = [epoch.to_dict() for epoch in TrainingFacts.from_manifest(manifest).epochs]
            failure_records.record_failure(self._store, address, Failure(reason, epochs))
        return TrainedNetwork(node, error=reason)

    def _commit_external(self, node: NetworkNode) -> None:
        external_networks.commit_external(
            self._store, network_address(node.key), node.payload, node.config, ray.get(self._dataset_ref), node.name
        )

    async def _fill_cache(self, node: NetworkNode, manifest: Manifest) -> None:
        if node.config.logits is not None:
            await self._on_storage(self._copy_logits, node, manifest)
            return
        inputs = _CacheInputs(
            store_uri=self._store.uri,
            payload=cache_payload(node.key, manifest),
            network=manifest,
            model=node.config.model,
            views=Views.of(self._config.views),
            device=device_of(node.config.placement),
            num_threads=1 if node.config.is_imported else node.config.recipe.threads,
        )
        try:
            await self._start_task(node, _fill_cache, inputs, self._dataset_ref)
        except DamagedBlob:
            await self._on_storage(self._store.delete, network_address(node.key))

    def _copy_logits(self, node: NetworkNode, manifest: Manifest) -> None:
        dataset = ray.get(self._dataset_ref)
        table = external_networks.logits_table(node.config, dataset, self._config.views.num, node.name)
        logit_cache.write_cache(self._store, cache_payload(node.key, manifest), table)

    def _inputs(self, node: NetworkNode, cache_refs: Sequence[ray.ObjectRef[pa.Table]]) -> NetworkInputs:
        job = network_job(node, self._config, self._store.uri)
        return NetworkInputs(job, self._dataset_ref, cache_refs, self._address(node), node.config.workers != 0)

    def _start_task(self, node: NetworkNode, function: Callable[..., Any], *arguments: Any) -> ray.ObjectRef[Any]:
        options = task_options(node.config.placement, self._config.limits.retries) | {"name": node.uid}
        self._tasks[node.uid] = self._address(node).start_task(options, function, *arguments)
        return self._tasks[node.uid]

    def _start_group(self, node: NetworkNode, inputs: NetworkInputs) -> asyncio.Future[Exception | None]:
        retries = self._config.limits.retries
        arguments = (inputs, node.config, self._store, retries, self._slots, self._stopped)
        return asyncio.get_running_loop().run_in_executor(self._group_pool, train_in_group, *arguments)

    def _address(self, node: NetworkNode) -> HeartbeatAddress:
        return HeartbeatAddress(node.uid, self._monitor.mailbox)

    def _on_storage(self, function: Callable[..., _Result], *arguments: Any) -> asyncio.Future[_Result]:
        return asyncio.get_running_loop().run_in_executor(self._storage_pool, function, *arguments)


@dataclass(frozen=True)
class _CacheInputs:
    """What the task that fills a logit cache needs beside the data."""

    store_uri: str = field(repr=False)  # may hold credentials
    payload: Mapping[str, Any]
    network: Manifest
    model: ModelConfig
    views: Views
    device: str
    num_threads: int


def _fill_cache(heartbeat: Heartbeat, inputs: _CacheInputs, dataset: Dataset) -> None:
    store = Store(inputs.store_uri)
    with memory_errors():
        network = load_model(store, inputs.network, inputs.model, dataset)
        with errors_of(user_function(inputs.model.name)):
            table = logit_cache.compute_logits(
                network, dataset, inputs.views, inputs.device, inputs.num_threads, heartbeat.beat
            )
        logit_cache.write_cache(store, inputs.payload, table)


def _user_error(error: Exception) -> UserFunctionError | None:
    """What the user's function raised on a worker of a group, if that is why the group failed."""
    raised = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    return next((found for found in raised if isinstance(found, UserFunctionError)), None)
