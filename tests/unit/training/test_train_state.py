import pickle

import pytest
import torch
from torch import nn

from tests.unit import tiny
from wetakd.common.errors import UserError
from wetakd.config import ModelConfig
from wetakd.models.registry import build_model
from wetakd.training.train_state import TrainState, load_state, state_bytes


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def train_state(model, **options):
    optimizer = torch.optim.AdamW(model.parameters(), **options)
    return TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def test_a_network_comes_back_with_all_its_numbers():
    network, other = tiny.network(seed=1), tiny.network(seed=2)
    network(torch.randn(4, 1, 8, 8))  # moves the running statistics
    load_state(other, state_bytes(network))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_the_bytes_depend_on_the_numbers_alone():
    network = tiny.network()
    before = state_bytes(network)
    network.to(memory_format=torch.channels_last)
    assert state_bytes(network) == before


def test_tied_weights_stay_tied():
    network, other = Tied(), Tied()
    load_state(other, state_bytes(network))
    assert other.second.weight is other.first.weight
    assert torch.equal(other.first.weight, network.first.weight)


@pytest.mark.parametrize("state", [b"", b"no tensors at all", pickle.dumps({"0.weight": 1}), b"\xff" * 64])
def test_what_is_no_safetensors_is_refused(state):
    with pytest.raises(UserError, match=r"^weights: do not fit Sequential: "):
        load_state(tiny.network(), state)


def test_another_architecture_is_refused_in_one_line():
    other = build_model(ModelConfig(name="plain", options={"depth": 4}), tiny.SHAPE, tiny.NUM_CLASSES, seed=0)
    with pytest.raises(UserError) as caught:
        load_state(tiny.network(), state_bytes(other))
    assert "\n" not in str(caught.value)


def test_a_snapshot_holds_weights_optimizer_and_facts():
    model = nn.Linear(3, 2)
    first = train_state(model, lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    first.optimizer.step()
    second = train_state(nn.Linear(3, 2), lr=0.1)
    assert second.restore(first.snapshot({"seed": 7, "history": [{"loss": 0.1}]})) == {
        "seed": 7,
        "history": [{"loss": 0.1}],
    }
    assert torch.equal(second.model.weight, model.weight)
    before, after = (each.optimizer.state_dict()["state"] for each in (first, second))
    assert before.keys() == after.keys()
    for index, mine in before.items():
        assert mine.keys() == after[index].keys()
        assert all(torch.equal(mine[slot], after[index][slot]) for slot in mine)


def test_optimizer_state_keeps_the_layout_of_its_parameter():
    """A layout of its own could round differently in the last bit."""
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    first = train_state(model)
    model(torch.ones(1, 3, 4, 4)).sum().backward()
    first.optimizer.step()
    second = train_state(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last))
    second.restore(first.snapshot({}))
    slots = second.optimizer.state[second.model.weight]
    assert slots["exp_avg"].stride() == second.model.weight.stride() == model.weight.stride()
