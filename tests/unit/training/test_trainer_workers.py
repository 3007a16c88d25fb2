from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

from tests.unit import tiny
from tests.unit.tiny import KD, RECIPE, made_logits, run
from wetakd.config import ModelConfig
from wetakd.data.views import Views
from wetakd.models.registry import build_model
from wetakd.training.batch_order import World
from wetakd.training.objective import Targets
from wetakd.training.trainer import Trainer

WORKERS = 2
SHARED = {"views": Views(2, True, 1, 0), "recipe": RECIPE, "distillation": KD}


def no_statistics(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))


def without_statistics():
    return build_model(ModelConfig(name=f"{__name__}:no_statistics"), tiny.SHAPE, tiny.NUM_CLASSES, seed=0)


def shared_targets():
    data = tiny.dataset()
    return Targets((made_logits(data, 2), made_logits(data, 2, seed=1)), (0.5, 0.5))


class File:
    def __init__(self, path):
        self.path = Path(path)

    def load(self):
        return self.path.read_bytes() if self.path.exists() else None

    def save(self, state):
        self.path.write_bytes(state)


def worker(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORKERS)
    world = World(rank, WORKERS)
    # Only rank 0 has a checkpoint at hand, as on a node of its own.
    checkpoints = File(f"{folder}/checkpoint-{rank}")
    options = {"targets": shared_targets(), "world": world, "checkpoints": checkpoints, "checkpoint_s": 0, **SHARED}
    next(Trainer(without_statistics(), tiny.dataset(), seed=0, precision="float32", **options).train())
    model, epochs = run(without_statistics(), **options)
    normed, _ = run(tiny.network(), world=world)
    torch.save((epochs, model.state_dict(), normed.state_dict()), f"{folder}/result-{rank}")
    torch.distributed.destroy_process_group()


def test_two_workers_train_what_one_trains(tmp_path):
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=WORKERS)
    results = [torch.load(tmp_path / f"result-{rank}", weights_only=False) for rank in range(WORKERS)]
    model, epochs = run(without_statistics(), targets=shared_targets(), **SHARED)
    for worker_epochs, state, normed in results:
        for mine, other in zip(epochs, worker_epochs, strict=True):
            assert (mine.epoch, mine.lr, mine.choose_accuracy) == (other.epoch, other.lr, other.choose_accuracy)
            assert other.loss == pytest.approx(mine.loss, rel=1e-4)
            assert other.choose_nll == pytest.approx(mine.choose_nll, rel=1e-4)
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(state[name], tensor, rtol=1e-3, atol=1e-5)
        # Batch norm's running statistics are rank 0's on every rank.
        assert all(torch.equal(normed[name], results[0][2][name]) for name in normed)
    assert not (tmp_path / "checkpoint-1").exists()
