"""The faults: each waits for its moment while a driver runs, hurts something once, and says what it did."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from tests.contract.storage_layout import WORKERS
from tests.faults.faulted_study import NET, Run
from tests.faults.killable_cluster import Cluster, title

POLL_S = 0.05
# What an undisturbed run makes, by kind.
_THINGS = {"networks": 3, "caches": 3, "students": 10, "evaluations": 10}
Strike = Callable[[Run, Cluster, random.Random], str | None]


@dataclass(frozen=True)
class Fault:
    """`strike` returns what it did, or None where the driver ended first."""

    strike: Strike
    blocks: Mapping[str, Any] | None = None
    """Blocks of the study file that it needs."""
    group: bool = False
    """Whether an assistant is trained by a worker group, so that the reference is another one."""
    ends_driver: bool = False
    """Whether the driver may end by it, to be started once more."""
    error_rows: str | None = None
    """What the errors of the rows say that must fail, where the fault would strike again."""
    server: Literal["mlflow", "s3"] | None = None
    """What stands between the study and its MLflow database, or its storage."""
    unsent: bool = False
    """Whether the study ends with exit code 1, for MLflow lacks something; `wetakd sync` then sends it."""

    @property
    def good_codes(self) -> tuple[int, ...]:
        """Exit codes of a study that went to its end."""
        return (0, 1) if self.unsent else (1,) if self.error_rows else (0,)


def _until(run: Run, ready: Callable[[], bool]) -> bool:
    while not run.is_over:
        if ready():
            return True
        time.sleep(POLL_S)
    return False


def _signal_worker(name: str, kind: str, num_kind: int, number: int = signal.SIGKILL) -> Strike:
    """Signal a worker called `name`, when a random number of things of a kind are finished."""

    def strike(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
        least, pause_s = rng.randrange(num_kind), rng.uniform(0, 1)
        if not _until(run, lambda: run.num_done(kind) >= least and bool(_called(cluster, name))):
            return None
        time.sleep(pause_s)
        victims: list[psutil.Process] = []
        if not _until(run, lambda: bool(victims.extend(_called(cluster, name)) or victims)):
            return None
        victim = rng.choice(victims)
        with suppress(psutil.NoSuchProcess):
            told = title(victim)
            victim.send_signal(number)
            return f"{signal.Signals(number).name} to {told} when {run.num_done(kind)} {kind} were done"
        return None

    return strike


def _called(cluster: Cluster, name: str) -> list[psutil.Process]:
    return [process for process in cluster.workers() if f"ray::{name}" in title(process)]


def _kill_cache(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    """The task of a network whose weights are there and whose logits are not."""
    least, name = rng.randrange(3), WORKERS["networks"]

    def ready() -> bool:
        return run.num_done("networks") > max(least, run.num_done("caches")) and bool(_called(cluster, name))

    if not _until(run, ready):
        return None
    victims = _called(cluster, name)
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    return f"SIGKILL to {len(victims)} cache task(s) when {run.num_done('caches')} caches were done"


def _moment(run: Run, rng: random.Random) -> bool:
    """Wait until a random number of things is done, and a moment more; a clock would come too late once the machine
    has less to do than when the undisturbed run was timed. What is done on S3 cannot be seen from here.
    """
    if run.s3:
        ends = time.monotonic() + rng.uniform(0.1, 0.5) * run.duration_s
        return _until(run, lambda: time.monotonic() > ends)
    least, pause_s = rng.randrange(sum(_THINGS.values())), rng.uniform(0, 1)
    if not _until(run, lambda: sum(map(run.num_done, _THINGS)) >= least):
        return False
    ends = time.monotonic() + pause_s
    return _until(run, lambda: time.monotonic() > ends)


def _kill_driver(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    if not _moment(run, rng) or run.driver is None:
        return None
    run.driver.kill()
    return f"SIGKILL to the driver when {_progress(run)}"


def _kill_node(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    if not _moment(run, rng):
        return None
    told = _progress(run)
    cluster.kill_node(rng)
    time.sleep(rng.uniform(0, 3))
    cluster.heal()
    return f"a node when {told}"


def _kill_head(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    if not _moment(run, rng):
        return None
    told = _progress(run)
    cluster.restart()
    return f"the head when {told}"


def _progress(run: Run) -> str:
    return ", ".join(f"{run.num_done(kind)} {kind}" for kind in _THINGS)


def _damage(how: Callable[[bytes, random.Random], bytes | None]) -> Strike:
    """End the driver, then damage a file on its storage as a torn write, a bad disk or a stranger would."""

    def strike(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
        if not _moment(run, rng) or run.driver is None:
            return None
        run.driver.kill()
        run.driver.wait()
        files = run.layout.damageable_files()
        if not files:
            return f"SIGKILL to the driver when {_progress(run)}"
        victim = rng.choice(files)
        damaged = how(victim.read_bytes(), rng)
        if damaged is None:
            victim.unlink()
        else:
            victim.write_bytes(damaged)
        if key := run.layout.key_of(victim):
            run.rebuilt.excuse(key)
        return f"{victim.relative_to(run.runs)} was damaged"

    return strike


def _cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(max(1, len(raw)))]


def _flip(raw: bytes, rng: random.Random) -> bytes:
    place, bit = rng.randrange(max(1, len(raw))), 1 << rng.randrange(8)
    return raw[:place] + bytes([(raw[place] if raw else 0) ^ bit]) + raw[place + 1 :]


def _mounted(strike: Callable[[Path, random.Random], str]) -> Strike:
    """Storage on a small file system of its own, which fails for some seconds."""

    def on_a_mount(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
        if not _moment(run, rng):
            return None
        return f"{strike(run.runs, rng)} when {_progress(run)}"

    return on_a_mount


def _read_only(runs: Path, rng: random.Random) -> str:
    # Files that are open for writing keep a file system writable, so it is tried for a while.
    for _ in range(200):
        if subprocess.run(["mount", "-o", "remount,ro", str(runs)], capture_output=True, check=False).returncode == 0:
            break
        time.sleep(0.02)
    else:
        return "storage could not be made read-only"
    pause_s = rng.uniform(1, 6)
    time.sleep(pause_s)
    subprocess.run(["mount", "-o", "remount,rw", str(runs)], check=True)
    return f"storage was read-only for {pause_s:.0f} s"


def _full(runs: Path, rng: random.Random) -> str:
    filler = runs / "filler"
    with suppress(OSError), open(filler, "wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    pause_s = rng.uniform(1, 6)
    time.sleep(pause_s)
    filler.unlink()
    return f"the disk was full for {pause_s:.0f} s"


def _mlflow_away(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    if not _moment(run, rng) or not _until(run, run.has_begun) or run.mlflow is None:
        return None
    told, pause_s = _progress(run), rng.uniform(1, 60)
    run.mlflow.kill()
    time.sleep(pause_s)
    run.mlflow.start()
    return f"MLflow's server was away for {pause_s:.0f} s when {told}"


def _mlflow_gone(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    if not _moment(run, rng) or not _until(run, run.has_begun) or run.mlflow is None:
        return None
    run.mlflow.kill()
    return f"MLflow's server was gone when {_progress(run)}"


def _slow_s3(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    if not _moment(run, rng) or run.s3 is None:
        return None
    run.s3.delay_s, pause_s = rng.uniform(0.1, 1.0), rng.uniform(2, 10)
    told = f"S3 held every piece back for {run.s3.delay_s:.1f} s during {pause_s:.0f} s"
    time.sleep(pause_s)
    run.s3.delay_s = 0.0
    return told


def _failing_s3(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    if not _moment(run, rng) or run.s3 is None:
        return None
    pause_s = rng.uniform(0.5, 10)
    run.s3.cut = True
    time.sleep(pause_s)
    run.s3.cut = False
    return f"S3 did not answer for {pause_s:.0f} s"


def _nothing(run: Run, cluster: Cluster, rng: random.Random) -> str | None:
    return "the study file itself"


_WILD = {**NET, "recipe": {**NET["recipe"], "lr": 1e30}}  # type: ignore[dict-item]
_HUNGRY = {**NET, "model": {"name": "tests.faults.slow_networks:hungry"}}

FAULTS: Mapping[str, Fault] = {
    "driver": Fault(_kill_driver, ends_driver=True),
    "network task": Fault(_signal_worker(WORKERS["networks"], "networks", 3)),
    "cache task": Fault(_kill_cache),
    "search task": Fault(_signal_worker(WORKERS["searches"], "searches", 1)),
    "trial": Fault(_signal_worker(WORKERS["students"], "students", 6)),
    "test task": Fault(_signal_worker(WORKERS["evaluations"], "evaluations", 1)),
    "hanging network": Fault(_signal_worker(WORKERS["networks"], "networks", 3, signal.SIGSTOP)),
    "hanging trial": Fault(_signal_worker(WORKERS["students"], "students", 6, signal.SIGSTOP)),
    "hanging search": Fault(_signal_worker(WORKERS["searches"], "searches", 1, signal.SIGSTOP)),
    "hanging test": Fault(_signal_worker(WORKERS["evaluations"], "evaluations", 1, signal.SIGSTOP)),
    "node": Fault(_kill_node),
    "head": Fault(_kill_head, ends_driver=True),
    "Train controller": Fault(_signal_worker("TrainController", "networks", 1), group=True),
    "Train worker": Fault(_signal_worker("RayTrainWorker", "networks", 1), group=True),
    "cut file": Fault(_damage(_cut), ends_driver=True),
    "changed file": Fault(_damage(_flip), ends_driver=True),
    "lost file": Fault(_damage(lambda raw, rng: None), ends_driver=True),
    "read-only storage": Fault(_mounted(_read_only), ends_driver=True),
    "full disk": Fault(_mounted(_full), ends_driver=True),
    "MLflow away": Fault(_mlflow_away, server="mlflow"),
    "MLflow gone": Fault(_mlflow_gone, server="mlflow", unsent=True),
    "slow S3": Fault(_slow_s3, server="s3"),
    "failing S3": Fault(_failing_s3, server="s3", ends_driver=True),
    "loss that is no number": Fault(
        _nothing, blocks={"assistants": {"first": NET, "second": _WILD}}, error_rows="diverged"
    ),
    "network out of memory": Fault(
        _nothing, blocks={"assistants": {"first": NET, "second": _HUNGRY}}, error_rows="memory"
    ),
    "student out of memory": Fault(_nothing, blocks={"student": _HUNGRY}, error_rows="memory"),
}


COMPANY = ("network task", "cache task", "search task", "trial", "test task")
"""Kinds that can strike beside any other."""


def needs_mount(kind: str) -> bool:
    """Whether its storage must be a file system of its own."""
    return kind in ("read-only storage", "full disk")


def can_mount(folder: Path) -> bool:
    """Whether this process may mount file systems."""
    if os.geteuid() != 0:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], capture_output=True, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", str(folder)], check=False)
    return done.returncode == 0
