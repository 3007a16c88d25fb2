"""The number of CPU threads that torch computes with, which rounding errors depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def pinned_threads(num_threads: int) -> Iterator[None]:
    """Compute with `num_threads` CPU threads during the block, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
