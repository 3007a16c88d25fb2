"""The weight search on assistants that were really trained: rows left, bound, gains on samples never fitted.

    python benchmarks/weights_trained.py                              scikit-learn's digits, three small networks
    python benchmarks/weights_trained.py --cifar10 train.parquet      and CIFAR-10, four plain CNNs for a few epochs

The Parquet file has the columns `img` (a struct with the encoded image as `bytes`) and `label`. The networks are
trained on one part, weighed on the second and judged on the third; a single thread, a few minutes for both.
"""

import argparse
import io
import time
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

from wetakd.weights import Problem, solve_problem

STRATEGIES = ("uniform", "best_single", "random", "greedy", "convex", "de")


def cnn(channels: Sequence[int], in_channels: int, side: int) -> nn.Sequential:
    """Convolution, normalisation, rectifier and pooling per entry of `channels`, then one linear layer."""
    layers: list[nn.Module] = []
    for width in channels:
        layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        in_channels, side = width, side // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(in_channels * side * side, 10))


def mlp(width: int, num_inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(num_inputs, width), nn.ReLU(), nn.Linear(width, 10))


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int) -> None:
    torch.manual_seed(seed)
    steps = epochs * -(-len(images) // 128)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(images)), 128):
            optimiser.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(network(images[batch]), labels[batch]))
            optimiser.step()
            schedule.step()


@torch.inference_mode()
def logits_of(network: nn.Module, images: Tensor) -> NDArray[np.float16]:
    network.eval()
    return torch.cat([network(part) for part in torch.split(images, 1000)]).numpy().astype(np.float16)


def digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(labels)


def cifar10(path: str) -> tuple[Tensor, Tensor]:
    table = pq.read_table(path, columns=["img", "label"])
    pictures = [np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in table["img"].to_pylist()]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255.0
    return (images - images.mean((0, 2, 3), keepdim=True)) / 0.25, torch.tensor(table["label"].to_numpy())


def report(
    name: str, images: Tensor, labels: Tensor, parts: Sequence[int], networks: Sequence[nn.Module], epochs: int
) -> None:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: sum(parts)]
    fit, weigh, judge = torch.split(order, list(parts))
    started = time.perf_counter()
    for seed, network in enumerate(networks):
        train(network, images[fit], labels[fit], epochs, seed)
    print(f"\n{name}: trained on {parts[0]} for {epochs} epochs ({time.perf_counter() - started:.0f} s)", end=", ")
    print(f"weighed on {parts[1]}, judged on {parts[2]}")
    scores = {part: np.stack([logits_of(n, images[i]) for n in networks]) for part, i in (("w", weigh), ("j", judge))}
    for mixture in ("probabilities", "logits"):
        problem = Problem(scores["w"], labels[weigh].numpy(), scores_are="logits", mixture=mixture)
        judged = Problem(scores["j"], labels[judge].numpy(), scores_are="logits", mixture=mixture)
        singles = [judged.evaluate(one)[0] for one in np.eye(len(networks))]
        rows = problem.accuracy_rows
        if mixture == "probabilities":
            print("alone, judged:", "  ".join(f"{accuracy:.4f}" for accuracy in singles))
        print(
            f"averaged {mixture}: {rows.num_disputed} of {parts[1]} samples disputed, {9 * parts[1]} rows -> "
            f"{len(rows.rows_RK)}, no weights above {rows.accuracy_cap:.4f}"
        )
        print(f"  {'':12} weigh: accuracy    nll   judge: accuracy    nll   cross-fitted gain, points")
        for strategy in STRATEGIES:
            result = solve_problem(problem, strategy)
            accuracy, nll = judged.evaluate(result.weights)
            gain, error = 100 * (result.crossfit_gain or 0.0), 100 * (result.crossfit_error or 0.0)
            print(
                f"  {strategy:12} {result.accuracy:15.4f} {result.nll:6.4f} {accuracy:17.4f} {nll:6.4f}   "
                f"{gain:+.2f} ± {error:.2f} {result.verdict}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cifar10", help="Parquet file with the columns img and label")
    parser.add_argument("--samples", type=int, default=15_000, help="CIFAR-10 images to train on")
    parser.add_argument("--epochs", type=int, default=5, help="on CIFAR-10")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pool = [mlp(8, 64), mlp(32, 64), cnn((8,), 1, 8), cnn((8, 16), 1, 8)]
    report("digits", *digits(), (800, 400, 597), pool, epochs=8)
    if chosen.cifar10:
        images, labels = cifar10(chosen.cifar10)
        pool = [cnn(c, 3, 32) for c in ((8, 16), (16, 32), (16, 32, 64), (24, 48, 96))]
        report("CIFAR-10", images, labels, (chosen.samples, 5_000, 10_000), pool, chosen.epochs)


if __name__ == "__main__":
    main()
