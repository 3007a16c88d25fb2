import itertools

import pytest

from tests.unit import tiny
from tests.unit.tiny import CLEAN, KD, RECIPE, Memory, every_step, made_logits, run, timeless, with_dropout
from wetakd.config import ModelConfig, RecipeConfig
from wetakd.data.views import Views
from wetakd.models.registry import build_model
from wetakd.storage.atomic_store import Store
from wetakd.storage.stored_checkpoints import StoredCheckpoints
from wetakd.training.objective import Targets
from wetakd.training.train_state import state_bytes
from wetakd.training.trainer import Trainer

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "nesterov": True},
    "plain-sgd": {"optimizer": "sgd", "momentum": 0.0},
    "adamw": {"optimizer": "adamw", "lr": 0.01},
}


@pytest.mark.parametrize("num_done", [1, 2, 3, 4])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_training_equals_an_uninterrupted_one(optimizer, num_done):
    recipe = RecipeConfig(**{"epochs": 4, "batch_size": 8, "lr": 0.05, "warmup_epochs": 1, **OPTIMIZERS[optimizer]})
    views, targets = Views(3, True, 1, 0), Targets((made_logits(tiny.dataset(), num_views=3),), (1.0,))
    options = {"views": views, "recipe": recipe, "distillation": KD, "targets": targets}
    model, epochs = run(with_dropout(), **options)
    checkpoints = Memory()
    first = Trainer(
        with_dropout(), tiny.dataset(), seed=0, precision="float32", checkpoints=checkpoints, checkpoint_s=0, **options
    ).train()
    done = list(itertools.islice(first, num_done))
    resumed, again = run(with_dropout(), checkpoints=checkpoints, **options)
    assert again[:num_done] == done
    assert timeless(again) == timeless(epochs)
    assert state_bytes(resumed) == state_bytes(model)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_resnet_equals_an_uninterrupted_one(precision):
    """1x1 convolutions and channels-last weights: layouts that a checkpoint could lose."""
    resnet = ModelConfig(name="resnet", options={"depth": 8})

    def new():
        return build_model(resnet, tiny.SHAPE, tiny.NUM_CLASSES, seed=0)

    checkpoints = Memory()
    next(
        Trainer(
            new(), tiny.dataset(), CLEAN, RECIPE, seed=0, precision=precision, checkpoints=checkpoints, checkpoint_s=0
        ).train()
    )
    resumed = run(new(), precision=precision, checkpoints=checkpoints)
    whole = run(new(), precision=precision)
    assert timeless(resumed[1]) == timeless(whole[1])
    assert state_bytes(resumed[0]) == state_bytes(whole[0])


def test_without_its_checkpoint_a_training_starts_again_and_ends_the_same():
    epochs = Trainer(
        with_dropout(), tiny.dataset(), CLEAN, RECIPE, seed=0, precision="float32", checkpoints=Memory(), checkpoint_s=0
    ).train()
    next(epochs)
    _, again = run(with_dropout(), checkpoints=Memory())
    assert timeless(again) == timeless(run(with_dropout())[1])


def test_an_older_checkpoint_serves_as_well():
    checkpoints = Memory()
    model, epochs = run(with_dropout(), checkpoints=checkpoints, checkpoint_s=0)
    assert len(checkpoints.states) == RECIPE.epochs
    del checkpoints.states[1:]
    resumed, again = run(with_dropout(), checkpoints=checkpoints)
    assert timeless(again) == timeless(epochs)
    assert state_bytes(resumed) == state_bytes(model)


def test_checkpoints_wait_for_their_time_but_not_when_the_listener_leaves():
    checkpoints = Memory()
    epochs = Trainer(
        tiny.network(), tiny.dataset(), CLEAN, RECIPE, seed=0, precision="float32", checkpoints=checkpoints
    ).train()
    next(epochs), next(epochs)
    assert checkpoints.states == []
    epochs.close()
    assert len(checkpoints.states) == 1
    with every_step() as rates:
        run(checkpoints=checkpoints)
    assert len(rates) == 5


def test_the_checkpoint_of_another_seed_is_our_own_mistake():
    checkpoints = Memory()
    run(checkpoints=checkpoints, checkpoint_s=0)
    with pytest.raises(ValueError, match="seed 0, not 1"):
        run(seed=1, checkpoints=checkpoints)


def test_checkpoints_on_storage_carry_a_training_on(tmp_path):
    checkpoints = StoredCheckpoints.at(Store(str(tmp_path)), "networks/abc")
    first = Trainer(
        with_dropout(), tiny.dataset(), CLEAN, RECIPE, seed=0, precision="float32", checkpoints=checkpoints
    ).train()
    next(first)
    first.close()
    with every_step() as rates:
        resumed, epochs = run(with_dropout(), checkpoints=checkpoints)
    assert len(rates) == 2 * 5
    model, whole = run(with_dropout())
    assert timeless(epochs) == timeless(whole)
    assert state_bytes(resumed) == state_bytes(model)
