import itertools
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

from tests.unit import tiny
from tests.unit.tiny import CLEAN, RECIPE, every_step, made_logits, run, timeless, with_dropout
from wetakd.common.errors import UserError
from wetakd.config import DistillationConfig, RecipeConfig
from wetakd.data.views import Views
from wetakd.training.batch_order import World, positions
from wetakd.training.epoch import Epoch
from wetakd.training.inference import predict
from wetakd.training.learning_rate import learning_rate
from wetakd.training.objective import Targets
from wetakd.training.precision import check_precision
from wetakd.training.train_state import state_bytes
from wetakd.training.trainer import Diverged, Trainer


def test_it_learns_and_records_every_epoch():
    recipe = RecipeConfig(epochs=8, batch_size=8, lr=0.05)
    model, epochs = run(recipe=recipe)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 9))
    assert epochs[-1].loss < 0.2 < epochs[0].loss
    assert epochs[-1].choose_accuracy == 1.0
    assert all(epoch.seconds > 0 for epoch in epochs)
    assert [Epoch.from_dict(epoch.to_dict()) for epoch in epochs] == epochs
    assert model.training


def test_the_record_of_choose_is_what_predict_says():
    data = tiny.dataset()
    model, epochs = run(data=data)
    logits_NC = torch.from_numpy(predict(model, data, data.splits.choose))
    labels_N = torch.tensor(data.labels_N[data.splits.choose])
    assert epochs[-1].choose_accuracy == (logits_NC.argmax(1) == labels_N).float().mean().item()
    assert epochs[-1].choose_nll == pytest.approx(nn.functional.cross_entropy(logits_NC, labels_N).item(), rel=1e-5)


def test_every_training_step_and_evaluation_batch_is_reported():
    steps = []
    training = Trainer(
        tiny.network(), tiny.dataset(), CLEAN, RECIPE, seed=0, precision="float32", on_step=lambda: steps.append(1)
    ).train()
    # Five batches of the split fit, and the split choose in one.
    assert [len(steps) for _ in training] == [6, 12, 18]


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_the_rates_really_applied_are_the_schedule(schedule):
    recipe = RecipeConfig(epochs=4, batch_size=8, lr=0.05, schedule=schedule, warmup_epochs=1)
    with every_step() as rates:
        _, epochs = run(recipe=recipe)
    assert rates == [learning_rate(recipe, step, 20) for step in range(20)]
    assert [epoch.lr for epoch in epochs] == rates[4::5]


def test_an_incomplete_last_batch_is_dropped_unless_it_is_the_only_one():
    for num_fit, num_steps in ((40, 5), (47, 5), (7, 1)):
        with every_step() as rates:
            run(data=tiny.dataset(num_fit), recipe=RecipeConfig(epochs=1, batch_size=8))
        assert len(rates) == num_steps


def test_epoch_e_sees_view_e_less_one_and_choose_the_clean_one():
    @dataclass(frozen=True)
    class Recorded(Views):
        def apply(self, images_NCHW, sample_ids_B, view):
            seen.append((view, frozenset(sample_ids_B.tolist())))
            return super().apply(images_NCHW, sample_ids_B, view)

    seen, data = [], tiny.dataset()
    epochs = Trainer(
        tiny.network(),
        data,
        Recorded(2, True, 1, 0),
        RecipeConfig(epochs=3, batch_size=20),
        seed=0,
        precision="float32",
    ).train()
    for view in (0, 1, 0):
        seen.clear()
        next(epochs)
        *training, choose = seen
        assert [v for v, _ in training] == [view, view]
        assert frozenset.union(*(ids for _, ids in training)) == set(data.splits.fit.tolist())
        assert choose == (0, frozenset(data.splits.choose.tolist()))


def test_positions_are_one_shuffle_of_the_split_per_seed_and_epoch():
    whole = positions(40, 8, seed=3, epoch=2, world=World())
    assert whole.shape == (5, 8)
    assert sorted(whole.flatten().tolist()) == list(range(40))
    assert torch.equal(whole, positions(40, 8, seed=3, epoch=2, world=World()))
    others = [positions(40, 8, seed=s, epoch=e, world=World()) for s, e in ((3, 1), (2, 2), (2, 3))]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations([whole, *others], 2))


def test_workers_share_the_batches_of_one_worker():
    whole = positions(46, 8, seed=3, epoch=2, world=World())
    parts = [positions(46, 8, seed=3, epoch=2, world=World(rank, 4)) for rank in range(4)]
    assert torch.equal(torch.cat(parts, dim=1), whole)
    only = [positions(7, 8, seed=3, epoch=2, world=World(rank, 2)) for rank in range(2)]
    assert [part.shape for part in only] == [(1, 3), (1, 3)]


def test_an_elastic_group_of_any_size_shares_what_divides():
    parts = torch.cat([positions(46, 8, seed=3, epoch=2, world=World(rank, 3)) for rank in range(3)], dim=1)
    assert parts.shape == (7, 6)
    assert len(parts.unique()) == 42


@pytest.mark.parametrize(("num_fit", "batch_size"), [(40, 1), (1, 8)])
def test_more_workers_than_images_are_refused(num_fit, batch_size):
    with pytest.raises(UserError, match=r"^workers: 2 are more than the images of a batch, or of the "):
        positions(num_fit, batch_size, seed=0, epoch=1, world=World(0, 2))


def test_the_order_of_training_depends_on_the_seed_alone():
    with_kd = run(distillation=DistillationConfig(alpha=0.0), targets=Targets((made_logits(tiny.dataset()),), (1.0,)))
    assert state_bytes(with_kd[0]) == state_bytes(run()[0])
    assert state_bytes(run(seed=1)[0]) != state_bytes(run()[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 4},
        {"batch_size": 10},
        {"lr": 0.06},
        {"momentum": 0.8},
        {"nesterov": True},
        {"weight_decay": 0.0},
        {"schedule": "constant"},
        {"warmup_epochs": 1.0},
        {"label_smoothing": 0.1},
        {"optimizer": "adamw"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_field_of_the_recipe_changes_the_network(changes):
    assert state_bytes(run(recipe=RECIPE.model_copy(update=changes))[0]) != state_bytes(run()[0])


@pytest.mark.parametrize("changes", [{"gamma": 0.5}, {"milestones": (0.3,)}])
def test_every_field_of_the_step_schedule_changes_the_network(changes):
    base = RECIPE.model_copy(update={"schedule": "step"})
    assert state_bytes(run(recipe=base.model_copy(update=changes))[0]) != state_bytes(run(recipe=base)[0])


def test_weight_decay_of_adamw_is_used():
    base = RECIPE.model_copy(update={"optimizer": "adamw"})
    other = base.model_copy(update={"weight_decay": 0.1})
    assert state_bytes(run(recipe=base)[0]) != state_bytes(run(recipe=other)[0])


class Observer(nn.Module):
    """Notes what reaches a network in training."""

    def __init__(self):
        super().__init__()
        self.inner, self.seen = tiny.network(), []

    def forward(self, x):
        if self.training:
            autocast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
            self.seen.append((x.is_contiguous(memory_format=torch.channels_last), autocast, torch.get_num_threads()))
        return self.inner(x)


@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_layout_precision_and_threads_are_used(channels_last):
    data = tiny.dataset()
    colour = replace(
        data,
        images_NCHW=np.repeat(data.images_NCHW, 3, axis=1),
        transform=replace(data.transform, channels=3, mean=(0.3,) * 3, std=(0.2,) * 3),
    )
    observer = Observer()
    observer.inner[0] = nn.Conv2d(3, 16, 3, padding=1)
    recipe = RecipeConfig(epochs=1, batch_size=8, channels_last=channels_last, threads=2)
    run(observer, colour, recipe=recipe, precision="bfloat16")
    torch.set_num_threads(1)
    assert set(observer.seen) == {(channels_last, torch.bfloat16, 2)}
    assert observer.inner[0].weight.is_contiguous()


def test_bfloat16_learns_too():
    model, epochs = run(recipe=RecipeConfig(epochs=8, batch_size=8, lr=0.05), precision="bfloat16")
    assert epochs[-1].choose_accuracy == 1.0
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_network_with_two_outputs_in_training_is_refused():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny.network()

        def forward(self, x):
            return (self.inner(x), x) if self.training else self.inner(x)

    with pytest.raises(UserError, match=r"^model: returned tuple in training"):
        run(Two())


# ----------------------------------------------------------------------------------- nothing leaks, nothing is shared


def test_a_networks_running_statistics_are_those_of_its_training_batches():
    """Looking at the split choose leaves no trace: every image of it white changes nothing but the record."""
    data = tiny.dataset()
    images_NCHW = data.images_NCHW.copy()
    images_NCHW[data.splits.choose] = 255
    other = replace(data, images_NCHW=images_NCHW)
    (model, epochs), (other_model, other_epochs) = run(data=data), run(data=other)
    assert state_bytes(model) == state_bytes(other_model)
    assert epochs[-1].choose_nll != other_epochs[-1].choose_nll


def test_the_student_is_back_in_training_mode_after_each_evaluation():
    model = with_dropout()
    for _ in Trainer(model, tiny.dataset(), CLEAN, RECIPE, seed=0, precision="float32").train():
        assert all(layer.training for layer in model.modules())


def test_a_network_handed_over_in_evaluation_mode_is_trained_all_the_same():
    assert state_bytes(run(with_dropout().eval())[0]) == state_bytes(run(with_dropout())[0])


def test_dropout_is_another_one_in_each_epoch():
    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny.network()

        def forward(self, x):
            drawn.extend(torch.rand(1).tolist() if self.training else [])
            return self.inner(x)

    drawn: list[float] = []
    run(Drawing())
    run(Drawing())
    assert drawn[:15] == drawn[15:]
    assert len(set(drawn)) == 15


def test_the_global_random_state_stays_as_it_was_and_does_not_matter():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    epochs = Trainer(with_dropout(), tiny.dataset(), CLEAN, RECIPE, seed=0, precision="float32").train()
    first = [next(epochs)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert timeless([*first, *epochs]) == timeless(run(with_dropout())[1])


def test_two_trainings_in_one_process_share_nothing():
    models = [with_dropout(), with_dropout()]
    recipes = [RECIPE, RECIPE.model_copy(update={"optimizer": "adamw", "lr": 0.01})]
    both = [
        Trainer(model, tiny.dataset(), CLEAN, recipe, seed=seed, precision="float32").train()
        for seed, (model, recipe) in enumerate(zip(models, recipes, strict=True))
    ]
    interleaved = list(zip(*both, strict=True))
    for i in range(2):
        model, epochs = run(with_dropout(), recipe=recipes[i], seed=i)
        assert timeless(epochs) == timeless(pair[i] for pair in interleaved)
        assert state_bytes(model) == state_bytes(models[i])


def test_neither_ray_nor_mlflow_is_imported():
    code = "import sys, wetakd.training; print({'ray', 'mlflow'} & {name.split('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# ------------------------------------------------------------------------------------------------ it ends badly


def test_a_loss_that_is_no_number_ends_training_with_its_epoch():
    with pytest.raises(Diverged, match="diverged in epoch 1") as caught:
        run(recipe=RecipeConfig(epochs=3, batch_size=8, lr=1e30, schedule="constant"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert isinstance(again, RuntimeError)


def test_float16_is_refused_on_a_cpu():
    with pytest.raises(UserError, match=r"^teacher\.recipe\.precision: float16"):
        check_precision("float16", "cpu", field="teacher.recipe.precision")
