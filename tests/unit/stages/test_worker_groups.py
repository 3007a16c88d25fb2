"""Each rank of a worker group trains on its own GPU. With faked GPU numbers: no machine with several was at hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import ray
import torch
from ray.air._internal.device_manager import get_torch_device_manager_by_device_type

from wetakd.config import ModelConfig, RecipeConfig
from wetakd.data.views import Views
from wetakd.stages import worker_groups
from wetakd.stages.training_job import TrainingJob
from wetakd.stages.worker_groups import on_own_device

JOB = TrainingJob(
    uid="network:0:teacher",
    address="networks/abc",
    model=ModelConfig(name="plain"),
    recipe=RecipeConfig(),
    precision="float32",
    seed=0,
    views=Views(num=1, flip=False, crop_padding=0, seed=0),
    device="cuda",
    store_uri="/nowhere",
    checkpoint_s=30.0,
)


@pytest.mark.parametrize(("visible", "mine", "expected"), [("0,1", ["1"], "cuda:1"), ("2,5,7", ["5"], "cuda:1")])
def test_a_rank_trains_on_the_gpu_that_ray_gave_it(
    monkeypatch: pytest.MonkeyPatch, visible: str, mine: list[str], expected: str
) -> None:
    current: list[torch.device] = []
    # As on a node with several ranks: all of them see the GPUs of all, and Ray knows whose is whose.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: mine)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    # Ray's own mapping, which it refuses to give outside of a Train worker.
    manager = get_torch_device_manager_by_device_type("cuda")
    monkeypatch.setattr(worker_groups, "get_device", lambda: manager.get_devices()[0])
    assert on_own_device(JOB) == replace(JOB, device=expected)
    assert current == [torch.device(expected)]


def test_on_a_cpu_nothing_is_asked_for() -> None:
    job = replace(JOB, device="cpu")
    assert on_own_device(job) == job
