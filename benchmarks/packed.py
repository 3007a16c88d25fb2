"""Would it pay to train several students in one network? P plain-2 students on the same batches, packed against alone.

    python benchmarks/packed.py

Packed, P students are one network with grouped convolutions: one launch where there were P, and arithmetic that the
device may or may not do better. Its rivals are the same students one after the other in one process ("in turn"), and in
as many processes as there are cores ("side by side", as Tune's actors; on a GPU, P processes share it). All do the same
step (distillation and labels, SGD with momentum) on the same random images, on one thread a process; the ways take
turns. Prints student-images a second and ratios; above 1.5 over both rivals it would be worth a module of its own. On a
CPU seconds are those of the processor, summed over processes, so that other load weighs the same on all; with a GPU the
clock's.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from threading import Barrier

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH, CLASSES, FEATURES = 128, 10, 16 * 8 * 8


class Packed(nn.Module):
    """P plain-2 students side by side; with P = 1 the lone one."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.num = num
        self.conv1, self.norm1 = nn.Conv2d(3, 16 * num, 3, padding=1), nn.BatchNorm2d(16 * num)
        self.conv2, self.norm2 = nn.Conv2d(16 * num, 16 * num, 3, padding=1, groups=num), nn.BatchNorm2d(16 * num)
        self.weight_PFC = nn.Parameter(torch.randn(num, FEATURES, CLASSES) / FEATURES**0.5)
        self.bias_PC = nn.Parameter(torch.zeros(num, CLASSES))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, students x batch x classes."""
        maps = functional.max_pool2d(self.norm1(self.conv1(images_BCHW)).relu(), 2)
        maps = functional.max_pool2d(self.norm2(self.conv2(maps)).relu(), 2)
        features_PBF = maps.reshape(len(maps), self.num, FEATURES).transpose(0, 1)
        return torch.baddbmm(self.bias_PC[:, None], features_PBF, self.weight_PFC)


def stepper(num: int, device: str, precision: torch.dtype) -> Callable[[Tensor, Tensor, Tensor], None]:
    model = Packed(num).to(device=torch.device(device)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    def step(images_BCHW: Tensor, labels_B: Tensor, targets_BC: Tensor) -> None:
        with torch.autocast(device, precision, enabled=precision != torch.float32):
            logits_RC = model(images_BCHW).float().reshape(-1, CLASSES)
        labels = functional.cross_entropy(logits_RC, labels_B.repeat(num))
        distilled = functional.kl_div(
            functional.log_softmax(logits_RC / 4, dim=1), targets_BC.repeat(num, 1), reduction="batchmean"
        )
        optimiser.zero_grad()
        torch.autograd.backward((0.1 * labels + 0.9 * 16 * distilled) * num)
        optimiser.step()

    return step


def seconds(students: int, packed: bool, device: str, precision: torch.dtype, num_steps: int, ready: Barrier) -> float:
    """What so many students take for `num_steps` batches, packed or one after the other on each."""
    torch.set_num_threads(1)
    steps = (
        [stepper(students, device, precision)] if packed else [stepper(1, device, precision) for _ in range(students)]
    )
    images = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (BATCH,), device=device)
    targets = torch.softmax(torch.randn(BATCH, CLASSES, device=device), dim=1)
    clock = time.perf_counter if device == "cuda" else time.process_time
    started = 0.0
    for number in range(num_steps + 3):
        if number == 3:
            synchronise(device)
            ready.wait()
            started = clock()
        for step in steps:
            step(images, labels, targets)
    synchronise(device)
    return clock() - started


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    has_bfloat16 = device == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(8, context) as pool, context.Manager() as manager:

        def took(processes: int, students: int, packed: bool, precision: torch.dtype) -> float:
            """So many processes at once: their processor seconds, or the clock's on a GPU."""
            ready = manager.Barrier(processes)
            work = (students // processes, packed, device, precision, arguments.steps, ready)
            each = [future.result() for future in [pool.submit(seconds, *work) for _ in range(processes)]]
            return max(each) if device == "cuda" else sum(each)

        for precision in (torch.float32, torch.bfloat16) if has_bfloat16 else (torch.float32,):
            for num in (2, 4, 8):
                beside = num if device == "cuda" else min(num, os.cpu_count() or 1)
                ways = {"packed": (1, num, True), "in turn": (1, num, False), "side by side": (beside, num, False)}
                rounds = [{way: took(*how, precision) for way, how in ways.items()} for _ in range(arguments.rounds)]
                print(f"{device} {str(precision).removeprefix('torch.')}, P = {num}, student-images a second:")
                for way in ways:
                    rate = statistics.median(num * arguments.steps * BATCH / found[way] for found in rounds)
                    ratios = [found[way] / found["packed"] for found in rounds]
                    print(
                        f"  {way:12s} {rate:9,.0f}   packed: x{statistics.median(ratios):.2f} "
                        f"({min(ratios):.2f} to {max(ratios):.2f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
