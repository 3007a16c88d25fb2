"""Heartbeats: messages that workers send while they compute, and the end of workers whose heartbeat stops.

A worker sends `start` before it imports anything large, a beat from its training or inference steps, its epochs, and
`end`. No thread sends beats: a timer would go on while the computation hangs. What a worker has finished is on storage,
so a lost message only changes what is shown.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import psutil
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from wetakd.common.errors import UserError
from wetakd.config import LimitsConfig

BEAT_EVERY_S = 2.0
_TASK_POLL_S = 1.0
_LAST_KILLS_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Process:
    """One operating-system process of the cluster; its start time tells it from a later one of the same number."""

    pid: int
    started: float | None
    node_id: str

    @classmethod
    def here(cls) -> Process:
        """This very process."""
        return cls(os.getpid(), psutil.Process().create_time(), ray.get_runtime_context().get_node_id())

    def kill(self) -> ray.ObjectRef[bool]:
        """End it, whatever it is doing; returns at once. Ray then sees a dead worker and retries its work.

        The result says whether there was such a process.
        """
        # A task on its own node: a process that hangs answers nobody.
        return _kill.options(scheduling_strategy=NodeAffinitySchedulingStrategy(self.node_id, soft=False)).remote(self)


@ray.remote(num_cpus=0)
def _kill(process: Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        if process.started in (None, psutil.Process(process.pid).create_time()):
            os.kill(process.pid, signal.SIGKILL)
            return True
    return False


MessageKind = Literal["start", "beat", "epoch", "end"]


class Message(NamedTuple):
    """`uid`: whose work the process does. Messages of one process arrive in the order in which it sent them."""

    uid: str
    process: Process
    kind: MessageKind
    epoch: Mapping[str, Any] | None = None


class _Mailbox:
    """Keeps messages until the driver asks. Of plain data only, so that its process need not import torch."""

    def __init__(self) -> None:
        self._waiting: list[Message] = []

    def push(self, message: Message) -> None:
        self._waiting.append(message)

    def drain(self) -> list[Message]:
        taken, self._waiting = self._waiting, []
        return taken


@dataclass
class _Deadline:
    """Processes that work for one object, and when they must send the next message."""

    label: str
    received_at: float
    has_stepped: bool = False
    processes: set[Process] = field(default_factory=set)
    kill_reason: str | None = None

    def update(self, message: Message) -> None:
        self.received_at = time.monotonic()
        if message.kind == "end":
            self.processes.discard(message.process)
            return
        self.processes.add(message.process)
        if message.kind == "start":
            self.has_stepped, self.kill_reason = False, None
        elif message.kind == "beat":  # an epoch may come from a checkpoint, before the first step
            self.has_stepped = True


class HeartbeatMonitor:
    """Driver side: collects messages, and kills the processes of whoever sends none for too long."""

    def __init__(self, limits: LimitsConfig) -> None:
        self._limits = limits
        self._deadlines: dict[str, _Deadline] = {}
        self._kills: dict[ray.ObjectRef[bool], str] = {}
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        mailbox: Any = ray.remote(_Mailbox)
        self.mailbox = mailbox.options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()

    @contextmanager
    def watch(self, uid: str, label: str) -> Iterator[None]:
        """During the block, the processes of `uid` must send messages from their start to their end.

        `label`: what messages call the object, such as "network teacher".
        """
        self._deadlines[uid] = _Deadline(label, time.monotonic())
        try:
            yield
        finally:
            del self._deadlines[uid]

    def poll(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The epochs reported since the last call; kills workers that are past their deadline."""
        try:
            messages: list[Message] = ray.get(self.mailbox.drain.remote())
        except RayActorError:
            return []  # it is being restarted
        for message in messages:
            if (deadline := self._deadlines.get(message.uid)) is not None:
                deadline.update(message)
        for deadline in list(self._deadlines.values()):
            self._kill_if_late(deadline)
        self._log_kills(timeout_s=0)
        return [(message.uid, message.epoch) for message in messages if message.epoch is not None]

    def kill_reason(self, uid: str) -> str | None:
        """Why the last try of `uid` was killed; None where it was not killed here."""
        return self._deadlines[uid].kill_reason

    def _kill_if_late(self, deadline: _Deadline) -> None:
        limit_s = self._limits.silent_s if deadline.has_stepped else self._limits.first_step_s
        if not deadline.processes or time.monotonic() - deadline.received_at <= limit_s:
            return
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        if deadline.has_stepped:
            why = f"no heartbeat for {limit_s:g} s; raise limits.silent_s if one step takes longer"
        else:
            why = (
                f"no first step within {limit_s:g} s of its start; raise limits.first_step_s if imports, compilation "
                "and the transfer of the data take longer"
            )
        deadline.kill_reason = f"killed at {now}: {why}"
        # The process that takes over sends a start of its own; until then there is nothing to wait for.
        killed = list(deadline.processes)
        deadline.processes.clear()
        # The processes of a worker group stop together, so one line stands for all of them.
        self._kills[killed[0].kill()] = f"{deadline.label}: worker {killed[0].pid} {deadline.kill_reason}"
        for process in killed[1:]:
            process.kill()

    def _log_kills(self, timeout_s: float) -> None:
        """Log each kill once, when it is known that the process was still there."""
        if not self._kills:
            return
        done, _ = ray.wait(list(self._kills), num_returns=len(self._kills), timeout=timeout_s)
        for kill in done:
            text = self._kills.pop(kill)
            with suppress(RayError):  # its node is gone, and the process with it
                if ray.get(kill):
                    log.warning("%s", text)

    def close(self) -> None:
        """Receive no more."""
        self._log_kills(_LAST_KILLS_S)
        ray.kill(self.mailbox)


@dataclass(frozen=True)
class HeartbeatAddress:
    """The address of one object's heartbeat: give it to the workers, which make a `Heartbeat` of it."""

    uid: str
    mailbox: Any

    def start_task(
        self, options: Mapping[str, Any], function: Callable[..., Any], *arguments: Any
    ) -> ray.ObjectRef[Any]:
        """Start a Ray task that sends `start`, calls `function(heartbeat, *arguments)` and sends `end`.

        References among `arguments` come as their values. What the function needs, torch above all, is imported after
        `start`, because an import takes seconds and may hang, too.
        """
        work = ray.put((function, arguments))
        return _run_task.options(**{"name": function.__name__, **options}).remote(self, [work])


class Heartbeat:
    """Worker side. Give `beat` as `on_step` to what computes; it costs a look at the clock."""

    def __init__(self, address: HeartbeatAddress) -> None:
        self._address = address
        self._process = Process.here()
        self._due = 0.0

    def start(self) -> None:
        """Say that this process begins; returns when it is received."""
        ray.get(self._send("start"))

    def beat(self) -> None:
        """One more step is done. At most one message every `BEAT_EVERY_S` seconds is sent."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + BEAT_EVERY_S
            self._send("beat")

    def epoch(self, epoch: Mapping[str, Any]) -> None:
        """One more epoch is done, as plain data."""
        self._send("epoch", epoch)

    def end(self) -> None:
        """Nothing more will come from this process."""
        self._send("end")

    @contextmanager
    def running(self) -> Iterator[None]:
        """`start` before the block, `end` after it."""
        self.start()
        try:
            yield
        finally:
            self.end()

    def _send(self, kind: MessageKind, epoch: Mapping[str, Any] | None = None) -> Any:
        return self._address.mailbox.push.remote(Message(self._address.uid, self._process, kind, epoch))


@ray.remote
def _run_task(address: HeartbeatAddress, work: Sequence[ray.ObjectRef[Any]]) -> Any:
    heartbeat = Heartbeat(address)
    with heartbeat.running():
        function, arguments = ray.get(work[0])
        return function(
            heartbeat, *(ray.get(given) if isinstance(given, ray.ObjectRef) else given for given in arguments)
        )


_Start = Callable[[HeartbeatAddress], "ray.ObjectRef[Any]"]


def results(
    starts: Mapping[Any, _Start], limits: LimitsConfig, label: Callable[[Any], str]
) -> Iterator[tuple[Any, Any]]:
    """Start tasks, each with an address of its own, and give (name, result) as they finish.

    A task whose heartbeat stops is killed, and Ray retries it. An error of one task is raised, and the others are
    cancelled. `label(name)` is what messages call a task.

    Raises:
        UserError: a task whose last try was killed.
    """
    monitor = HeartbeatMonitor(limits)
    waiting: list[ray.ObjectRef[Any]] = []
    tasks = {}
    try:
        with ExitStack() as deadlines:
            for number, (name, start) in enumerate(starts.items()):
                uid = str(number)
                deadlines.enter_context(monitor.watch(uid, label(name)))
                waiting.append(start(HeartbeatAddress(uid, monitor.mailbox)))
                tasks[waiting[-1]] = uid, name
            while waiting:
                ready, waiting = ray.wait(waiting, timeout=_TASK_POLL_S)
                for task in ready:
                    uid, name = tasks.pop(task)
                    yield name, _result(task, uid, label(name), monitor, limits)
                monitor.poll()
    finally:
        # Something was raised, here or by the caller: nobody will want the other results.
        for task in waiting:
            ray.cancel(task, force=True)
        monitor.close()


def _result(task: ray.ObjectRef[Any], uid: str, label: str, monitor: HeartbeatMonitor, limits: LimitsConfig) -> Any:
    try:
        return ray.get(task)
    except RayTaskError:
        raise
    except RayError:
        if (reason := monitor.kill_reason(uid)) is None:
            raise
        raise UserError(f"{label}: worker lost more than {limits.retries} times; {reason}") from None
