"""Images a second: views by batched indexing against torchvision's DataLoader with the same crop and flip.

Both give normalised float32 batches of 32x32 colour images, one after the other in the same run, round by round, so
that a second load on the machine hits both. Ours are those that training reads, laid out channels-last; the
DataLoader's are as it gives them. The last line is a small network's training step: views that are 20 times
faster take 5 % of it.

    python benchmarks/views.py --rounds 5
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from wetakd.config import ModelConfig
from wetakd.data.transform import Transform
from wetakd.data.views import Views
from wetakd.models.cost import InputShape
from wetakd.models.registry import build_model
from wetakd.training.inference import Pixels

BATCH = 128
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
TRANSFORM = Transform(32, 32, 3, 255, MEAN, STD)
VIEWS = Views(num=2, flip=True, crop_padding=4, seed=0)


class Pictures(Dataset[tuple[Tensor, int]]):
    """As torchvision's CIFAR10 works: an array in memory, a Pillow image a sample."""

    def __init__(self, images_NCHW: Tensor) -> None:
        self.images_NHWC = images_NCHW.permute(0, 2, 3, 1).contiguous().numpy()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images_NHWC)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        pixels: Tensor = self.transform(Image.fromarray(self.images_NHWC[i]))
        return pixels, 0


def ours(images_NCHW: Tensor) -> int:
    pixels, order = Pixels(images_NCHW, TRANSFORM, VIEWS), torch.randperm(len(images_NCHW))
    for start in range(0, len(order), BATCH):
        pixels.inputs(order[start : start + BATCH], 1)
    return len(order)


def loaded(loader: DataLoader[tuple[Tensor, int]], num: int) -> int:
    """Images of `num` batches, without the time that worker processes take to start."""
    return sum(len(batch) for _, (batch, _) in zip(range(num), loader, strict=False))


def rate(work: Callable[[], int]) -> float:
    start = time.perf_counter()
    return work() / (time.perf_counter() - start)


def training(images_NCHW: Tensor) -> Callable[[], int]:
    """Ten training steps of the plain network of depth 2, the smallest student there is, on one ready batch."""
    network = build_model(ModelConfig(name="plain", options={"depth": 2}), InputShape(3, 32, 32), 10, 0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    images_BCHW = TRANSFORM.normalise(images_NCHW[:BATCH]).contiguous(memory_format=torch.channels_last)
    labels_B = torch.randint(0, 10, (BATCH,))

    def steps() -> int:
        for _ in range(10):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(images_BCHW), labels_B)
            torch.autograd.backward(loss)
            optimizer.step()
        return 10 * BATCH

    return steps


def ways_to_measure(images_NCHW: Tensor, workers: int) -> dict[str, Callable[[], int]]:
    """What is measured in turns, ours first; each returns how many images it worked through."""
    data, batches = Pictures(images_NCHW), len(images_NCHW) // BATCH
    alone = DataLoader(data, BATCH, shuffle=True)
    helped = DataLoader(data, BATCH, shuffle=True, num_workers=workers, persistent_workers=True)
    loaded(helped, batches)  # start the processes before the clock does
    return {
        "views": lambda: ours(images_NCHW),
        "DataLoader, in this process": lambda: loaded(alone, batches // 4),
        f"DataLoader, {workers} processes": lambda: loaded(helped, batches),
        "training steps, plain 2": training(images_NCHW),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=1, help="of torch in this process")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of the DataLoader")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images_NCHW = torch.randint(0, 256, (options.images, 3, 32, 32), dtype=torch.uint8)

    ways = ways_to_measure(images_NCHW, options.workers)
    rounds = [{name: rate(work) for name, work in ways.items()} for _ in range(options.rounds)]
    print(f"{os.cpu_count()} CPUs, {options.threads} thread(s), torch {torch.__version__}, batch {BATCH}; medians")
    print(f"{'':30s} {'images/s':>12s}   views are faster by")
    for name in ways:
        ratios = [found["views"] / found[name] for found in rounds]
        print(
            f"{name:30s} {median(found[name] for found in rounds):12,.0f}   "
            f"{median(ratios):6.1f}x  ({min(ratios):.1f} to {max(ratios):.1f} in {len(rounds)} rounds)"
        )


if __name__ == "__main__":
    main()
