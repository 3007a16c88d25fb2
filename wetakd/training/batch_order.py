"""The order of training samples, and the seeds of everything random in an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wetakd.common.errors import UserError


@dataclass(frozen=True)
class World:
    """Place of this process among the workers of one training; torch.distributed is initialised where size > 1."""

    rank: int = 0
    size: int = 1


def positions(num_fit: int, batch_size: int, seed: int, epoch: int, world: World) -> Tensor:
    """Positions (int64, S x B) within the split fit that this worker trains on, in the order of (seed, epoch).

    The batches are those of one worker, split evenly; an elastic group of a size that does not divide them, makes them
    smaller by the rest. An incomplete last batch is dropped unless it is the only one.

    Raises:
        UserError: more workers than there are images in a batch.
    """
    batch_size = min(batch_size, num_fit) // world.size * world.size
    if not batch_size:
        raise UserError(f"workers: {world.size} are more than the images of a batch, or of the {num_fit} of split fit")
    order = torch.randperm(num_fit, generator=torch.Generator().manual_seed(derive_seed(seed, epoch, 0)))
    whole = order[: num_fit // batch_size * batch_size]
    return whole.view(-1, world.size, batch_size // world.size)[:, world.rank]


def derive_seed(*numbers: int) -> int:
    """A seed from several numbers, unlike that of any others."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's generators of this device start from `seed`; afterwards they are as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
