"""Signs of life: what workers say while they work, and the end of those that fall silent.

A worker says who it is when it starts and tells each epoch that is done. Nothing rests on these messages but how the
study is followed: what a worker has finished lies on storage.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_HEAR_EVERY_S = 1.0
IMPORT_S = 60.0
"""After its first word a process may be silent for this long at least: to import torch takes a busy machine a while."""

Message = tuple[str, "Process", Mapping[str, Any] | None]
"""Who is meant, which process speaks, and an epoch as plain data, or None at the start of a try."""


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

    def kill(self) -> None:
        """End it, whatever it is doing; returns at once. Ray then sees a dead worker and tries its work again."""
        # A task on its own node, for a process that hangs answers nobody.
        _kill.options(scheduling_strategy=NodeAffinitySchedulingStrategy(self.node_id, soft=False)).remote(self)


@ray.remote(num_cpus=0)
def _kill(process: Process) -> None:
    with suppress(psutil.NoSuchProcess):
        if process.started in (None, psutil.Process(process.pid).create_time()):
            os.kill(process.pid, signal.SIGKILL)


class _Mailbox:
    """Keeps messages until the driver asks. Of plain data only, so that its process need not import torch."""

    def __init__(self) -> None:
        self._waiting: list[Message] = []

    def push(self, uid: str, process: Process, epoch: Mapping[str, Any] | None) -> None:
        self._waiting.append((uid, process, epoch))

    def drain(self) -> list[Message]:
        taken, self._waiting = self._waiting, []
        return taken


@dataclass
class _Vigil:
    heard_at: float
    silent_s: float
    processes: set[Process] = field(default_factory=set)


class Watch:
    """The driver's ear: passes on what workers say, and ends the processes of those that say nothing for too long."""

    def __init__(self, silent_s: float) -> None:
        self._silent_s = silent_s
        self._vigils: dict[str, _Vigil] = {}
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        mailbox: Any = ray.remote(_Mailbox)
        self.mailbox = mailbox.options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()

    @contextmanager
    def over(self, uid: str) -> Iterator[None]:
        """While the block lasts, `uid` must be heard of once one of its processes has begun."""
        self._vigils[uid] = _Vigil(time.monotonic(), self._silent_s)
        try:
            yield
        finally:
            del self._vigils[uid]

    def hear(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The epochs told since the last call; whoever was silent for too long is ended."""
        try:
            messages: list[Message] = ray.get(self.mailbox.drain.remote())
        except RayActorError:
            return []  # it is being restarted
        for uid, process, _ in messages:
            if (vigil := self._vigils.get(uid)) is None:
                continue
            is_new = process not in vigil.processes
            vigil.silent_s = max(self._silent_s, IMPORT_S) if is_new else self._silent_s
            vigil.processes.add(process)
            vigil.heard_at = time.monotonic()
        self._end_silent()
        return [(uid, epoch) for uid, _, epoch in messages if epoch is not None]

    def _end_silent(self) -> None:
        for vigil in list(self._vigils.values()):
            if time.monotonic() - vigil.heard_at > vigil.silent_s:
                # Whoever takes over speaks for itself; until then there is nobody to be heard of.
                while vigil.processes:
                    vigil.processes.pop().kill()

    def close(self) -> None:
        """Hear no more."""
        ray.kill(self.mailbox)


@dataclass(frozen=True)
class Voice:
    """What a task needs to be heard: `begin` for its first word, `alive` now and then."""

    uid: str
    mailbox: Any

    def alive(self) -> None:
        """Say so; returns at once."""
        self.mailbox.push.remote(self.uid, Process.here(), None)

    def begin(self, options: Mapping[str, Any], function: Callable[..., Any], *arguments: Any) -> ray.ObjectRef[Any]:
        """Start a Ray task that says its first word and then calls `function(voice, *arguments)`.

        References among `arguments` come as their values. Only then is imported what it needs, torch above all: that
        takes seconds, and a process may hang in them, too.
        """
        work = ray.put((function, arguments))
        return _begin.options(**{"name": function.__name__, **options}).remote(self, [work])


@ray.remote
def _begin(voice: Voice, work: Sequence[ray.ObjectRef[Any]]) -> Any:
    ray.get(voice.mailbox.push.remote(voice.uid, Process.here(), None))
    function, arguments = ray.get(work[0])
    return function(voice, *(ray.get(given) if isinstance(given, ray.ObjectRef) else given for given in arguments))


_Start = Callable[[Voice], "ray.ObjectRef[Any]"]


def results(starts: Mapping[Any, _Start], silent_s: float) -> Iterator[tuple[Any, Any]]:
    """Start tasks, each with a voice of its own, and give (name, result) as they finish.

    A task that has begun and is then silent for `silent_s` is ended, and Ray tries it again.
    """
    watch = Watch(silent_s)
    try:
        tasks = {start(Voice(str(i), watch.mailbox)): (str(i), name) for i, (name, start) in enumerate(starts.items())}
        vigils = {uid: ExitStack() for uid, _ in tasks.values()}
        for uid, vigil in vigils.items():
            vigil.enter_context(watch.over(uid))
        waiting = list(tasks)
        while waiting:
            ready, waiting = ray.wait(waiting, timeout=_HEAR_EVERY_S)
            for task in ready:
                uid, name = tasks[task]
                vigils[uid].close()
                yield name, ray.get(task)
            if not ready:
                watch.hear()
    finally:
        watch.close()
