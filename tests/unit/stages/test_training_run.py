"""One job: trained once, committed whole, carried on where it stopped, and never read damaged."""

import dataclasses
import os

import pytest
import ray
import ray.train.torch
import torch
import torch.distributed
import torch.multiprocessing
from ray.air._internal.device_manager import get_torch_device_manager_by_device_type
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from tests.unit import tiny
from tests.unit.stages.made_jobs import make_job
from wetakd.common.errors import UserError
from wetakd.config import ModelConfig, RecipeConfig
from wetakd.data.views import Views
from wetakd.logits import logit_cache
from wetakd.models import registry
from wetakd.stages import training_run
from wetakd.stages.training_job import TrainingJob
from wetakd.stages.training_run import on_own_device, run_job
from wetakd.storage.atomic_store import Store
from wetakd.storage.stored_checkpoints import StoredCheckpoints
from wetakd.storage.training_facts import TrainingFacts
from wetakd.training.batch_order import World
from wetakd.training.objective import Targets
from wetakd.training.trainer import Diverged

VIEWS = tiny.CLEAN


def weights(folder, model=tiny.PLAIN_2):
    store = Store(str(folder))
    found = store.find("networks/first")
    return training_run.load_model(store, found, model, tiny.dataset()).state_dict()


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_job_is_trained_once_and_its_history_is_kept(tmp_path):
    told = list(run_job(make_job(tmp_path), tiny.dataset()))
    store = Store(str(tmp_path))
    manifest = store.find_intact("networks/first")
    assert list(TrainingFacts.from_manifest(manifest).epochs) == told
    assert manifest.payload == make_job(tmp_path).payload
    assert TrainingFacts.from_manifest(manifest).parameters == sum(p.numel() for p in tiny.network().parameters())
    assert [epoch.epoch for epoch in told] == [1, 2, 3]
    files = store.list()
    assert not [path for path in files if "checkpoints" in path]
    again = list(run_job(make_job(tmp_path), tiny.dataset()))
    assert again == told
    assert [epoch.is_stored for epoch in told + again] == [False] * 3 + [True] * 3
    assert "is_stored" not in manifest.facts["epochs"][0]
    assert store.list() == files


def parametrized(num_classes, in_channels):
    return nn.Sequential(
        weight_norm(nn.Conv2d(in_channels, 4, 3)),
        nn.ReLU(),
        nn.Flatten(),
        spectral_norm(nn.Linear(4 * 36, num_classes)),
    )


def test_a_network_without_plain_weights_is_trained_and_kept(tmp_path):
    model = ModelConfig(name=f"{__name__}:parametrized")
    told = list(run_job(make_job(tmp_path, model=model), tiny.dataset()))
    manifest = Store(str(tmp_path)).find_intact("networks/first")
    assert list(TrainingFacts.from_manifest(manifest).epochs) == told
    assert TrainingFacts.from_manifest(manifest).macs == 36 * 4 * 9 + 4 * 36 * tiny.NUM_CLASSES
    trained, _ = tiny.run(registry.new_model(model, tiny.dataset(), 3), seed=3)
    assert equal(weights(tmp_path, model), trained.state_dict())


calls_before_training = []


def costing_too_much(num_classes, in_channels):
    """A network that can be trained and whose operations cannot be counted."""

    def forward_pre_hook(module, _):
        calls_before_training.append(module.training)
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise NotImplementedError

    module = parametrized(num_classes, in_channels)
    module.register_forward_pre_hook(forward_pre_hook)
    return module


def test_a_cost_that_cannot_be_determined_ends_a_job_before_it_trains(tmp_path):
    with pytest.raises(UserError, match="cannot be counted"):
        next(run_job(make_job(tmp_path, model=ModelConfig(name=f"{__name__}:costing_too_much")), tiny.dataset()))
    assert not any(calls_before_training)


def test_determining_the_cost_does_not_change_the_network(tmp_path):
    model = ModelConfig(name=f"{__name__}:counting_its_calls")
    list(run_job(make_job(tmp_path, model=model), tiny.dataset()))
    trained, _ = tiny.run(registry.new_model(model, tiny.dataset(), 3), seed=3)
    assert equal(weights(tmp_path, model), trained.state_dict())


def counting_its_calls(num_classes, in_channels):
    """A network with a buffer that each forward pass changes, in evaluation mode too."""

    def count(layer, _):
        layer.num_calls += 1

    module = parametrized(num_classes, in_channels)
    module.register_buffer("num_calls", torch.zeros(()))
    module.register_forward_pre_hook(count)
    return module


def test_the_result_is_that_of_the_loop_itself(tmp_path):
    list(run_job(make_job(tmp_path), tiny.dataset()))
    model, _ = tiny.run(registry.new_model(tiny.PLAIN_2, tiny.dataset(), 3), seed=3)
    assert equal(weights(tmp_path), model.state_dict())


def test_a_job_that_stops_early_commits_nothing_and_goes_on_from_there(tmp_path):
    first = list(run_job(make_job(tmp_path / "one", stop_after=2), tiny.dataset()))
    store = Store(str(tmp_path / "one"))
    assert [epoch.epoch for epoch in first] == [1, 2]
    assert store.find_intact("networks/first") is None
    assert StoredCheckpoints.at(store, "networks/first").load() is not None
    # Stopping where it stands already trains nothing.
    assert list(run_job(make_job(tmp_path / "one", stop_after=1), tiny.dataset())) == first[:1]
    rest = list(run_job(make_job(tmp_path / "one"), tiny.dataset()))
    assert rest[:2] == first
    list(run_job(make_job(tmp_path / "two"), tiny.dataset()))
    assert equal(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_one_that_stops_after_its_last_epoch_is_finished(tmp_path):
    list(run_job(make_job(tmp_path, stop_after=3), tiny.dataset()))
    assert Store(str(tmp_path)).find_intact("networks/first") is not None


@pytest.mark.parametrize("mixture", ["probabilities", "logits"])
def test_pupils_learn_from_logit_caches(tmp_path, mixture):
    data = tiny.dataset()
    tables = [logit_cache.compute_logits(tiny.network(seed), data, VIEWS) for seed in (1, 2)]
    taught = {"distillation": tiny.KD, "weights_K": (0.25, 0.75), "mixture": mixture}
    list(run_job(make_job(tmp_path / "taught", **taught), data, tables))
    list(run_job(make_job(tmp_path / "alone"), data))
    logits = tuple(logit_cache.logits_of_table(table).fit_VNC for table in tables)
    targets = Targets(logits, (0.25, 0.75), mixture)
    model = registry.new_model(tiny.PLAIN_2, data, 3)
    expected, _ = tiny.run(model, data, seed=3, distillation=tiny.KD, targets=targets)
    assert equal(weights(tmp_path / "taught"), expected.state_dict())
    assert not equal(weights(tmp_path / "taught"), weights(tmp_path / "alone"))


def test_divergence_is_not_retryable_and_leaves_nothing_behind_as_finished(tmp_path):
    wild = tiny.RECIPE.model_copy(update={"lr": 1e30})
    with pytest.raises(Diverged) as caught:
        list(run_job(make_job(tmp_path, recipe=wild), tiny.dataset()))
    assert isinstance(caught.value, training_run.NON_RETRYABLE)
    assert Store(str(tmp_path)).find_intact("networks/first") is None


def test_damaged_weights_are_deleted_and_trained_again(tmp_path):
    list(run_job(make_job(tmp_path), tiny.dataset()))
    before = weights(tmp_path)
    (blob,) = (tmp_path / "networks/first").glob("weights-*")
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    store = Store(str(tmp_path))
    assert store.find("networks/first") is not None
    assert store.find_intact("networks/first") is None
    assert store.list("networks/first") == []
    list(run_job(make_job(tmp_path), tiny.dataset()))
    assert equal(weights(tmp_path), before)


def rank(number, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    # Each rank has a storage of its own, as if one saw the commit of another attempt and one did not yet.
    told = list(run_job(make_job(f"{folder}/{number}"), tiny.dataset(), world=World(number, 2)))
    assert [epoch.epoch for epoch in told] == [1, 2, 3]
    torch.distributed.destroy_process_group()
    os._exit(0)


@pytest.mark.parametrize("finished", [0, 1])
def test_ranks_that_see_different_things_agree_and_only_rank_0_commits(tmp_path, finished):
    list(run_job(make_job(tmp_path / str(finished)), tiny.dataset()))
    torch.multiprocessing.start_processes(rank, (str(tmp_path),), nprocs=2, start_method="spawn")
    assert Store(str(tmp_path / "0")).find_intact("networks/first") is not None
    assert (Store(str(tmp_path / "1")).find_intact("networks/first") is None) == (finished == 0)


# Each rank of a worker group trains on its own GPU. With faked GPU numbers: no machine with several was at hand.
GPU_JOB = TrainingJob(
    uid="network:0:teacher",
    address="networks/abc",
    payload={},
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
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: manager.get_devices()[0])
    assert on_own_device(GPU_JOB) == dataclasses.replace(GPU_JOB, device=expected)
    assert current == [torch.device(expected)]


def test_on_a_cpu_nothing_is_asked_for() -> None:
    job = dataclasses.replace(GPU_JOB, device="cpu")
    assert on_own_device(job) == job
