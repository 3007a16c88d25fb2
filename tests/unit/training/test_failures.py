"""Which failures would happen again: divergence and errors of the user's functions, never the machine's."""

import dataclasses

import pytest
import torch
from ray.exceptions import OutOfMemoryError, WorkerCrashedError
from torch import nn

from tests.unit import tiny
from tests.unit.stages.made_jobs import make_job
from wetakd.config import ModelConfig
from wetakd.logits import logit_cache
from wetakd.stages.training_run import run_job
from wetakd.storage.atomic_store import Store
from wetakd.training.failures import UserFunctionError, errors_of, user_function
from wetakd.training.trainer import Diverged


class _Failing(nn.Module):
    """Raises in its second epoch of training."""

    def __init__(self, error: str) -> None:
        super().__init__()
        self.linear = nn.Linear(64, tiny.NUM_CLASSES)
        self.error, self.steps = error, 0

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        if self.steps > 5:
            raise {"bug": ValueError("a bug"), "memory": RuntimeError("DefaultCPUAllocator: can't allocate memory")}[
                self.error
            ]
        return self.linear(images_BCHW.flatten(1))


def failing(num_classes, error):
    return _Failing(error)


def failing_loss(student_BC, target_BC, labels_B, temperature):
    return student_BC @ target_BC  # shapes that do not fit


def failing_job(folder, error):
    model = ModelConfig(name=f"{__name__}:failing", options={"error": error})
    return make_job(folder, model=model)


def test_an_error_of_the_users_model_names_it_with_the_place_and_the_epochs_before(tmp_path):
    with pytest.raises(UserFunctionError) as caught:
        list(run_job(failing_job(tmp_path, "bug"), tiny.dataset()))
    assert str(caught.value).startswith(f"{__name__}:failing raised ValueError: a bug (test_failures.py, line ")
    assert [epoch["epoch"] for epoch in caught.value.epochs] == [1]
    assert Store(str(tmp_path)).find("networks/first") is None


def test_a_lack_of_memory_in_the_users_model_stays_one(tmp_path):
    with pytest.raises(MemoryError, match="can't allocate memory"):
        list(run_job(failing_job(tmp_path, "memory"), tiny.dataset()))


def test_an_error_of_the_users_loss_names_it(tmp_path):
    data = tiny.dataset()
    distillation = tiny.KD.model_copy(update={"loss": f"{__name__}:failing_loss"})
    taught = make_job(tmp_path, distillation=distillation, weights_K=(1.0,))
    with pytest.raises(UserFunctionError, match=r":failing_loss raised RuntimeError: .*\(test_failures.py, line"):
        list(run_job(taught, data, [logit_cache.compute_logits(tiny.network(1), data, tiny.CLEAN)]))


def test_divergence_carries_the_epochs_before_it(tmp_path):
    wild = make_job(tmp_path, recipe=tiny.RECIPE.model_copy(update={"lr": 1e30}))
    with pytest.raises(Diverged) as caught:
        list(run_job(wild, tiny.dataset()))
    assert len(caught.value.epochs) == caught.value.args[0] - 1


def test_a_users_model_learns_what_the_same_model_of_ours_learns(tmp_path):
    """The wrapper that names the user's model changes no number."""
    theirs = dataclasses.replace(make_job(tmp_path / "theirs"), model=ModelConfig(name=f"{__name__}:plain_2"))
    ours = make_job(tmp_path / "ours")
    assert tiny.timeless(run_job(theirs, tiny.dataset())) == tiny.timeless(run_job(ours, tiny.dataset()))


def plain_2():
    return tiny.network(3)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ConnectionResetError("reset"),
        ModuleNotFoundError("a package that this worker lacks"),
        WorkerCrashedError(),
        OutOfMemoryError("Ray killed the worker"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_machine_or_ray_raises_is_not_blamed_on_the_user(error):
    with pytest.raises(type(error)) as caught, errors_of("my.module:model"):
        raise error
    assert caught.value is error


def test_only_callables_of_the_user_are_the_users():
    names = ["resnet", "torchvision:resnet18", "my.module:model", None]
    assert [user_function(name) for name in names] == [None, None, "my.module:model", None]
    with pytest.raises(KeyError), errors_of(None):
        raise KeyError("ours, with its traceback")
