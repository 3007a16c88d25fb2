"""Latency: measured on one thread, in evaluation mode, and nothing is left changed."""

import time

import torch
from torch import nn

from tests.unit import tiny
from wetakd.models.latency import latency_ms


class Watching(nn.Module):
    """Takes five milliseconds, and notes how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)
        self.seen: set[tuple[int, bool, bool, tuple[int, ...]]] = set()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.add((torch.get_num_threads(), self.training, torch.is_inference_mode_enabled(), images.shape))
        time.sleep(0.005)
        logits: torch.Tensor = self.layer(images.flatten(1))
        return logits


def test_it_is_the_time_of_one_image_on_one_thread_in_milliseconds() -> None:
    model, threads = Watching().train(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert 5.0 <= latency_ms(model, tiny.SHAPE) < 1000.0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert model.seen == {(1, False, True, (1, 1, 8, 8))}
    assert model.training
