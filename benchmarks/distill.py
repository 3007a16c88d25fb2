"""Images a second of a student's training: from the logit cache, on labels alone, and the way everybody distils.

On the same slice of CIFAR-10 (noise where there is none), with the same flips, batch and threads:

- `labels`: our loop without teachers;
- `cache`: our loop, taught by the teacher and three assistants from their stored logits;
- `usual`: torchvision transforms in a DataLoader, and teacher and assistants run forward at every step;
- `torchdistill`: that library's loop with the teacher alone (where it is installed: `pip install torchdistill`).

Every measurement has a process of its own, so that its peak memory is its own; the ways take turns, and every round
begins with the next one. `peak MiB` is what training holds in its warming epoch, with the processes of its DataLoader;
pages that several hold count once. The logit cache is computed in another process, with a line of its own.

    python benchmarks/distill.py --train data/cifar10/train.parquet
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import data
from torchvision import transforms

from wetakd.config import DistillationConfig, ModelConfig, ParquetData, RecipeConfig, SplitsConfig, TransformConfig
from wetakd.data.dataset import Dataset, Splits, load_dataset
from wetakd.data.transform import Transform
from wetakd.data.views import Views
from wetakd.logits import logit_cache
from wetakd.models.cost import InputShape
from wetakd.models.registry import build_model
from wetakd.training.objective import Targets
from wetakd.training.trainer import Trainer

BATCH, EPOCHS, VIEWS = 128, 3, 2
TEMPERATURE, ALPHA = 4.0, 0.9
MEAN, STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)


@dataclass(frozen=True)
class Family:
    """Who teaches whom, by kind of network and depth, and how many steps an epoch of the slice has."""

    kind: str
    teachers: tuple[int, ...]
    student: int
    steps: int

    def build(self, depth: int) -> nn.Module:
        """A network of seeded weights: what it says does not matter, what it costs does."""
        model = build_model(
            ModelConfig(name=self.kind, options={"depth": depth}), InputShape(3, 32, 32), 10, seed=depth
        )
        with torch.no_grad():  # without statistics of anything, the logits of 110 layers overflow
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 1.0
            model.train()(torch.randn(64, 3, 32, 32))
        return model.to(memory_format=torch.channels_last)

    def __str__(self) -> str:
        return f"{self.kind} {'/'.join(map(str, self.teachers))} -> {self.student}"


FAMILIES = {"plain": Family("plain", (10, 8, 6, 4), 2, 10), "resnet": Family("resnet", (110, 56, 32, 20), 8, 3)}


def load_slice(train_file: str | None, num_images: int) -> Dataset:
    """`num_images` images to learn from; the other splits have one each, so that an epoch is all training."""
    ids = np.arange(num_images + 3)
    splits = Splits(ids[:num_images], ids[-3:-2], ids[-2:-1], ids[-1:])
    if train_file is not None:
        config = ParquetData(source="parquet", train=train_file, test=None, max_train_images=2 * num_images + 100)
        whole = load_dataset(config, SplitsConfig(test=0.1), TransformConfig(), memory_share=0.5)
        return replace(whole, splits=splits, transform=Transform(32, 32, 3, 255, MEAN, STD))
    rng = np.random.default_rng(0)
    images_NCHW = rng.integers(0, 256, (len(ids), 3, 32, 32), dtype=np.uint8)
    names = tuple(str(label) for label in range(10))
    return Dataset(
        images_NCHW, rng.integers(0, 10, len(ids)), names, splits, Transform(32, 32, 3, 255, MEAN, STD), "noise"
    )


def ours(family: Family, dataset: Dataset, targets: Targets | None) -> Iterator[None]:
    """One item an epoch of our loop; more of them, for they are soon over."""
    distillation = DistillationConfig(temperature=TEMPERATURE, alpha=ALPHA) if targets is not None else None
    recipe = RecipeConfig(epochs=8 * EPOCHS, batch_size=BATCH, threads=torch.get_num_threads())
    epochs = Trainer(
        family.build(family.student),
        dataset,
        Views(VIEWS, True, 0, 0),
        recipe,
        seed=0,
        precision="float32",
        distillation=distillation,
        targets=targets,
    ).train()
    for _ in epochs:
        yield


class Pictures(data.Dataset[tuple[Tensor, int]]):
    """As torchvision's CIFAR10 works: an array in memory, a Pillow image a sample."""

    def __init__(self, dataset: Dataset) -> None:
        fit = dataset.splits.fit
        self.images_NHWC = dataset.images_NCHW[fit].transpose(0, 2, 3, 1).copy()
        self.labels = dataset.labels_N[fit].tolist()
        steps = [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images_NHWC[i])), self.labels[i]


def usual(family: Family, dataset: Dataset, workers: int) -> Iterator[None]:
    """One item an epoch of the loop that recomputes every teacher at every step."""
    loader = data.DataLoader(
        Pictures(dataset), BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    teachers = [family.build(depth).eval() for depth in family.teachers]
    student = family.build(family.student).train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for _ in range(EPOCHS):
        for images_BCHW, labels_B in loader:
            inputs_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                soft = [functional.softmax(teacher(inputs_BCHW) / TEMPERATURE, dim=1) for teacher in teachers]
                target_BC = torch.stack(soft).mean(0)
            student_BC = student(inputs_BCHW)
            log_student_BC = functional.log_softmax(student_BC / TEMPERATURE, dim=1)
            distilled = functional.kl_div(log_student_BC, target_BC, reduction="batchmean") * TEMPERATURE**2
            loss = (1 - ALPHA) * functional.cross_entropy(student_BC, labels_B) + ALPHA * distilled
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        yield


def torchdistill(family: Family, dataset: Dataset, workers: int) -> Iterator[None]:
    """One item an epoch of torchdistill's own training box: one teacher, its KDLoss."""
    from torch.utils.data import RandomSampler
    from torchdistill.core.distillation import get_distillation_box

    whole = {"module_path": ".", "module_io": "output"}
    loading = {"batch_size": BATCH, "drop_last": True, "num_workers": workers, "persistent_workers": workers > 0}
    network = {"forward_proc": "forward_batch_only", "sequential": []}
    config: dict[str, Any] = {
        "num_epochs": EPOCHS,
        "train_data_loader": {
            "dataset_id": "pictures",
            "sampler": {"class_or_func": RandomSampler, "kwargs": {}},
            "kwargs": loading,
        },
        "val_data_loader": {},
        "teacher": network | {"requires_grad": False},
        "student": network,
        "optimizer": {"key": "SGD", "kwargs": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {
                    "kd": {
                        "criterion": {
                            "key": "KDLoss",
                            "kwargs": {f"{who}_{what}": whole[what] for who in ("student", "teacher") for what in whole}
                            | {"temperature": TEMPERATURE, "alpha": 1 - ALPHA},
                        },
                        "weight": 1.0,
                    }
                }
            },
        },
    }
    teacher, student = family.build(family.teachers[0]), family.build(family.student)
    box = get_distillation_box(
        teacher, student, {"pictures": Pictures(dataset)}, config, torch.device("cpu"), None, False, 1
    )
    for epoch in range(EPOCHS):
        box.pre_epoch_process(epoch=epoch)
        for images_BCHW, labels_B, supplement in box.train_data_loader:
            inputs_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
            box.post_forward_process(box.forward_process(inputs_BCHW, labels_B, supplement))
        box.post_epoch_process()
        yield


class Peak:
    """The most memory that this process and its children hold at once, in MiB, looked at some ten times a second."""

    def __init__(self) -> None:
        self.mebibytes = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            self.mebibytes = max(self.mebibytes, held())
            self._over.wait(0.1)


def held() -> float:
    """MiB of this process and its children; a page that n of them hold counts 1/n in each."""
    this, total = psutil.Process(), 0
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):
            info = process.memory_full_info()
            total += getattr(info, "pss", info.rss)  # pss: Linux only
    return total / 2**20


@dataclass(frozen=True)
class CachedLogits:
    """The teachers' logits of the slice, and what they took."""

    logits: tuple[np.ndarray, ...]
    seconds: float
    peak: float


def fill(family: Family, train_file: str | None, threads: int) -> CachedLogits:
    """Ask every teacher for every view once."""
    torch.set_num_threads(threads)
    dataset, views = load_slice(train_file, family.steps * BATCH), Views(VIEWS, True, 0, 0)
    started = time.perf_counter()
    with Peak() as peak:
        tables = [logit_cache.compute_logits(family.build(depth), dataset, views) for depth in family.teachers]
    seconds = time.perf_counter() - started
    return CachedLogits(tuple(logit_cache.logits_of_table(table).fit_VNC for table in tables), seconds, peak.mebibytes)


def measure(
    way: str, family: Family, train_file: str | None, threads: int, workers: int, logits: tuple[np.ndarray, ...]
) -> dict[str, float]:
    """Images a second after an epoch that warms up, and peak memory of that epoch in MiB."""
    torch.set_num_threads(threads)
    dataset = load_slice(train_file, family.steps * BATCH)
    targets = Targets(logits, (1 / len(logits),) * len(logits)) if way == "cache" else None
    ways: dict[str, Callable[[], Iterator[None]]] = {
        "labels": partial(ours, family, dataset, None),
        "cache": partial(ours, family, dataset, targets),
        "usual": partial(usual, family, dataset, workers),
        "torchdistill": partial(torchdistill, family, dataset, workers),
    }
    epochs = ways[way]()
    with Peak() as peak:  # not while the clock runs
        next(epochs)
    started = time.perf_counter()
    num_images = sum(family.steps * BATCH for _ in epochs)
    return {"rate": num_images / (time.perf_counter() - started), "peak": peak.mebibytes}


def in_own_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """`work` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def compare(family: Family, ways: list[str], options: argparse.Namespace) -> None:
    """Print a family's table."""
    caches: list[CachedLogits] = []
    rounds: list[dict[str, dict[str, float]]] = []
    for turn in range(options.rounds):
        caches.append(in_own_process(fill, family, options.train, options.threads))
        arguments = (family, options.train, options.threads, options.workers, caches[-1].logits)
        first = turn % len(ways)
        rounds.append({})
        for way in ways[first:] + ways[:first]:
            rounds[-1][way] = found = in_own_process(measure, way, *arguments)
            print(f"  {way:14s}{found['rate']:10,.0f} images/s", file=sys.stderr, flush=True)
    print(f"\n{family}: {family.steps} steps of {BATCH} an epoch; median of {options.rounds} rounds")
    print(f"{'':14s}{'images/s':>10s}{'peak MiB':>10s}   cache is faster by")
    for way in ways:
        ratios = [found["cache"]["rate"] / found[way]["rate"] for found in rounds]
        rate, peak = (median(found[way][name] for found in rounds) for name in ("rate", "peak"))
        print(f"{way:14s}{rate:10,.0f}{peak:10,.0f}   {median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})")
    seconds, peak = median(each.seconds for each in caches), median(each.peak for each in caches)
    print(
        f"the logit cache itself: {seconds:.1f} s, {peak:,.0f} MiB, once for all students: "
        f"{VIEWS} views by every teacher"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", help="Parquet file of CIFAR-10 with the columns img and label; without it, noise")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of an epoch; default: 10 (plain) and 3 (resnet)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes of the DataLoader")
    options = parser.parse_args()
    if options.train is not None and not Path(options.train).is_file():
        parser.error(f"--train: {options.train} is no file")
    has_torchdistill = importlib.util.find_spec("torchdistill") is not None
    ways = ["labels", "cache", "usual", *(["torchdistill"] if has_torchdistill else [])]
    print(f"torch {torch.__version__}, float32, {options.threads} threads, DataLoader with {options.workers} processes")
    for name in options.families:
        family = FAMILIES[name]
        compare(family if options.steps is None else replace(family, steps=options.steps), ways, options)


if __name__ == "__main__":
    main()
