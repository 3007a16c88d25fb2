"""Would it pay to train several students in one network? P plain-2 students on the same batches, packed against alone.

    python benchmarks/packed.py

Packed, P students are one network with grouped convolutions: one launch where there were P, and arithmetic that the
device may or may not do better. Both sides do the same step (distillation and labels, SGD with momentum) on the same
random images, in turns, in one process. Prints student-images a second and their ratio; above 1.5 it would be worth a
module of its own. With a GPU it runs there, in bfloat16 too.
"""

import argparse
import statistics
import time
from collections.abc import Callable

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


def rate(steps: list[Callable[[Tensor, Tensor, Tensor], None]], students: int, device: str, num_steps: int) -> float:
    """Student-images a second, `steps` one after the other on each batch."""
    images = torch.randn(BATCH, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (BATCH,), device=device)
    targets = torch.softmax(torch.randn(BATCH, CLASSES, device=device), dim=1)
    started = 0.0
    for number in range(num_steps + 3):
        if number == 3:
            synchronise(device)
            started = time.perf_counter()
        for step in steps:
            step(images, labels, targets)
    synchronise(device)
    return num_steps * BATCH * students / (time.perf_counter() - started)


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    has_bfloat16 = device == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
    for precision in (torch.float32, torch.bfloat16) if has_bfloat16 else (torch.float32,):
        for num in (2, 4, 8):
            alone = [stepper(1, device, precision) for _ in range(num)]
            packed = [stepper(num, device, precision)]
            rounds = [
                (rate(alone, num, device, arguments.steps), rate(packed, num, device, arguments.steps))
                for _ in range(arguments.rounds)
            ]
            ratios = [mine / lone for lone, mine in rounds]
            lone, mine = (statistics.median(side) for side in zip(*rounds, strict=True))
            print(
                f"{device} {str(precision).removeprefix('torch.')}, P = {num}: alone {lone:,.0f}, packed {mine:,.0f} "
                f"student-images a second: x{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
