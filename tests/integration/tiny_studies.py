"""Studies so small that networks train in a moment, and what their results are compared with."""

import gc
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
import torch
from torch import nn

from tests.unit import tiny
from wetakd.common.progress import QuietReporter
from wetakd.config import StudyConfig
from wetakd.config.study_file import config_from_tree
from wetakd.data.dataset import Dataset
from wetakd.data.views import Views
from wetakd.logits import logit_cache
from wetakd.plan.study_plan import Plan
from wetakd.plan.trials import NetworkNode
from wetakd.stages import training_job, training_run
from wetakd.stages.networks import train_networks
from wetakd.stages.study_context import StudyContext
from wetakd.storage.addresses import network_address
from wetakd.storage.atomic_store import Store
from wetakd.tracking.study_logger import StudyLogger
from wetakd.tracking.tracker import NullTracker
from wetakd.training.epoch import Epoch

PLAIN = {"name": "plain", "options": {"depth": 2}}
RECIPE = {"epochs": 2, "batch_size": 8, "lr": 0.05, "precision": "float32"}
NET = {"model": PLAIN, "recipe": RECIPE}
# An epoch of 14 steps of 0.4 s is longer than the 4 s that a step may take, and each step is shorter.
LONG_EPOCH = {
    "model": {"name": "tests.integration.tiny_studies:slow", "options": {"step_s": 0.4}},
    "recipe": RECIPE | {"batch_size": 3},
}
HANGING = {"model": {"name": "tests.integration.tiny_studies:hanging"}, "recipe": RECIPE}


def without_statistics(num_classes: int, in_channels: int) -> nn.Module:
    """No batch norm: two workers with half a batch each then learn what one learns from the whole."""
    return nn.Sequential(nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))


def is_worker() -> bool:
    """Whether this process works for Ray, rather than driving it."""
    return any(word.startswith("ray::") for word in psutil.Process().cmdline())


class _Slow(nn.Module):
    """Takes its time."""

    def __init__(self, num_classes: int, in_channels: int, step_s: float = 0.04) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels * 64, num_classes)
        self.step_s = step_s

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        time.sleep(self.step_s if is_worker() else 0)
        logits_BC: torch.Tensor = self.linear(images_BCHW.flatten(1))
        return logits_BC


def slow(num_classes: int, in_channels: int, step_s: float = 0.04) -> nn.Module:
    """About a fifth of a second an epoch of the tiny data set, in a worker of Ray."""
    return _Slow(num_classes, in_channels, step_s)


class _Hanging(_Slow):
    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 2 and is_worker():
            time.sleep(0.5)  # the first beat must get out
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().forward(images_BCHW)


def hanging(num_classes: int, in_channels: int) -> nn.Module:
    """Stops its process in the third step."""
    return _Hanging(num_classes, in_channels)


class _Dying(_Slow):
    def train(self, mode: bool = True) -> nn.Module:
        # Built by the driver, too, to be checked; dies where a worker of Ray trains it.
        if mode and is_worker():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().train(mode)


def dying(num_classes: int, in_channels: int) -> nn.Module:
    """Ends its process when training begins."""
    return _Dying(num_classes, in_channels)


class _Broken(_Slow):
    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        if is_worker():
            raise KeyError("a bug of the model")
        return super().forward(images_BCHW)


def broken(num_classes: int, in_channels: int) -> nn.Module:
    """Raises in a worker of Ray."""
    return _Broken(num_classes, in_channels)


class _Loud(_Slow):
    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        logits_BC: torch.Tensor = self.linear(images_BCHW.flatten(1))
        return logits_BC if self.training else logits_BC * 1e6


def loud(num_classes: int, in_channels: int) -> nn.Module:
    """Learns like any other, and then says numbers beyond float16."""
    return _Loud(num_classes, in_channels)


class _Failing(_Slow):
    """In a worker of Ray: writes a line into a file, then raises."""

    def __init__(self, num_classes: int, in_channels: int, marker: str, error: str) -> None:
        super().__init__(num_classes, in_channels)
        self.marker, self.error = Path(marker), error

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        if self.training and is_worker():
            with self.marker.open("a") as file:
                file.write("tried\n")
            raise {"bug": ValueError("a bug"), "memory": MemoryError("out of memory")}[self.error]
        logits_BC: torch.Tensor = self.linear(images_BCHW.flatten(1))
        return logits_BC


def failing(num_classes: int, in_channels: int, marker: str, error: str) -> nn.Module:
    """Fails in its first step of training."""
    return _Failing(num_classes, in_channels, marker, error)


def failing_network(marker: Path, error: str) -> dict[str, Any]:
    """The block of such a network; `marker` counts how often it was tried."""
    options = {"marker": str(marker), "error": error}
    return {"model": {"name": "tests.integration.tiny_studies:failing", "options": options}, "recipe": RECIPE}


def pids_of(name: str) -> list[int]:
    """Worker processes on this machine that run the Ray task or actor of that name."""
    return [process.pid for process in psutil.process_iter(["cmdline"]) if _runs(process, name)]


def _runs(process: psutil.Process, name: str) -> bool:
    return any(f"ray::{name}" in word for word in process.info["cmdline"] or ())


class _Probing(_Slow):
    """Refuses to train where this process has a copy of the pixels of its own."""

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        if self.training and (own := private_pixels()):
            raise RuntimeError(f"{own} bytes of pixels are in private memory")
        return super().forward(images_BCHW)


def probing(num_classes: int, in_channels: int) -> nn.Module:
    """Fails to train where pixels are copied."""
    return _Probing(num_classes, in_channels)


def private_pixels() -> int:
    """Bytes of large arrays and tensors of this process outside of Ray's shared memory."""
    shared = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, _, *name = line.split(maxsplit=5)
        if "plasma" in "".join(name) or "/dev/shm" in "".join(name):
            shared.append([int(end, 16) for end in span.split("-")])
    # Plain tensors only: what an export leaves behind has neither numbers nor a size.
    plain = (Dataset, torch.Tensor, torch.nn.Parameter)
    found = [thing for thing in gc.get_objects() if type(thing) in plain]
    tensors = [t if isinstance(t, torch.Tensor) else torch.from_numpy(t.images_NCHW) for t in found]
    large = {t.data_ptr(): t.nbytes for t in tensors if t.nbytes > 50 * 2**20}
    assert large, "the data set is here"
    return sum(size for at, size in large.items() if not any(low <= at < high for low, high in shared))


def wait_for_cpus(num: int, timeout_s: float = 60.0) -> None:
    """Wait until the cluster has given so many CPUs back."""
    deadline = time.monotonic() + timeout_s
    while ray.available_resources().get("CPU", 0) < num:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.2)


def study(**blocks: Any) -> StudyConfig:
    """Teacher and one assistant; `blocks` of the study file replace or add."""
    tree = {
        "study": {"name": "tiny", "seeds": 1, "strategies": ["uniform"]},
        "data": {"source": "digits"},
        "views": {"num": 2, "flip": True},
        "teacher": NET,
        "assistants": {"first": NET},
        "student": NET,
    }
    return config_from_tree(tree | blocks)


def plan(tmp_path: Any, data: Dataset | None = None, **blocks: Any) -> tuple[Plan, Store]:
    return Plan(study(**blocks), data or tiny.dataset()), Store(str(tmp_path))


class _HeldLease:
    """A lease that no other driver takes over."""

    def check(self) -> None:
        pass


class _EpochListener(StudyLogger):
    """Logs nothing; passes on the epochs of networks."""

    def __init__(self, config: StudyConfig, on_epoch: Callable[[str, Epoch], Any]) -> None:
        super().__init__(NullTracker(), config)
        self._on_epoch = on_epoch

    def log_network_epoch(self, node: NetworkNode, epoch: Epoch) -> None:
        self._on_epoch(node.uid, epoch)


def context(
    made: Plan,
    store: Store,
    on_epoch: Callable[[str, Epoch], Any] = lambda *_: None,
    *,
    dataset_ref: Any = None,
) -> StudyContext:
    """A running study that logs nothing; `on_epoch(uid, epoch)` is called for each epoch of a network."""
    lease: Any = _HeldLease()
    return StudyContext(
        config=made.config,
        store=store,
        lease=lease,
        dataset=made.dataset,
        dataset_ref=dataset_ref or ray.put(made.dataset),
        labels_ref=ray.put(made.dataset.split_labels),
        plan=made,
        tracker=NullTracker(),
        study_logger=_EpochListener(made.config, on_epoch),
        reporter=QuietReporter(),
    )


def train(made: Plan, store: Store, reported: list[Any] | None = None) -> dict[str, Any]:
    """Train the networks of a plan; by name."""
    epochs = [] if reported is None else reported
    networks = train_networks(context(made, store, lambda uid, epoch: epochs.append((uid, epoch))))
    return {name: network for (_, name), network in networks.items()}


def weights(store: Store, node: NetworkNode, data: Dataset) -> dict[str, torch.Tensor]:
    manifest = store.find(network_address(node.key))
    assert manifest is not None
    return training_run.load_model(store, manifest, node.config.model, data).state_dict()


def trained_here(made: Plan, store: Store, node: NetworkNode, teacher_tables: Any = ()) -> training_job.TrainingJob:
    """Train a node in this process into another storage; returns the job."""
    job = training_job.TrainingJob(
        uid="here",
        address=network_address(node.key),
        payload=node.payload,
        model=node.config.model,
        recipe=node.config.recipe,
        precision=node.precision,
        seed=node.seed,
        views=Views.of(made.config.views),
        device="cpu",
        store_uri=store.uri,
        checkpoint_s=1000.0,
        distillation=node.distillation,
        weights_K=(1 / len(teacher_tables),) * len(teacher_tables) if teacher_tables else (),
    )
    list(training_run.run_job(job, made.dataset, teacher_tables))
    return job


def logits(table: Any) -> np.ndarray:
    rows: np.ndarray = logit_cache.logits_of_table(table).fit_VNC
    return rows
