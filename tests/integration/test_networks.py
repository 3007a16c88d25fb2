"""The graph of networks on a real cluster: order, banks, failures, damage, death and interruption."""

import numpy as np
import pytest
import ray
import torch

from tests.integration import studies
from tests.integration.studies import NET, PLAIN, RECIPE, plan, train
from wetakd import bank, training_job
from wetakd.networks import address
from wetakd.views import Views

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(180)]

TWO_AND_THEIR_PUPIL = {
    "second": NET,
    "first": NET,
    "pupil": NET | {"taught_by": ["first", "second"]},
}


def test_a_graph_trains_in_order_and_a_second_call_trains_nothing(tmp_path):
    made, store = plan(tmp_path, assistants=TWO_AND_THEIR_PUPIL)
    heard = []
    networks = train(made, store, heard)
    assert all(network.trained and network.error is None for network in networks.values())
    order = [uid.rpartition(":")[2] for uid, epoch in heard if epoch.epoch == 1]
    assert order[0] == "teacher"
    assert order[-1] == "pupil"
    assert sorted(order) == sorted(networks)
    views = Views.of(made.config.views)
    for network in networks.values():
        module = training_job.load_model(store, network.manifest, network.node.config.model, made.dataset)
        assert bank.compute(module, made.dataset, views).equals(ray.get(network.ref))
    tables = [ray.get(networks[name].ref) for name in ("first", "second")]
    alone = type(store)(str(tmp_path / "alone"))
    studies.trained_here(made, alone, networks["pupil"].node, tables)
    here = studies.weights(alone, networks["pupil"].node, made.dataset)
    there = studies.weights(store, networks["pupil"].node, made.dataset)
    assert all(torch.equal(here[name], there[name]) for name in here)

    again = train(made, store, heard := [])
    assert not any(network.trained for network in again.values())
    assert heard == []
    assert all(network.manifest == networks[name].manifest for name, network in again.items())
    assert np.array_equal(*[bank.view(ray.get(found["pupil"].ref)).test_NC for found in (networks, again)])


def test_a_network_that_diverges_costs_itself_and_its_pupils_only(tmp_path):
    wild = {"model": PLAIN, "recipe": RECIPE | {"lr": 1e30}}
    assistants = {"wild": wild, "pupil": NET | {"taught_by": ["wild"]}, "calm": NET}
    made, store = plan(tmp_path, assistants=assistants)
    networks = train(made, store)
    assert "diverged" in networks["wild"].error
    assert networks["pupil"].error == "its teacher wild failed"
    assert networks["calm"].error is None
    assert networks["calm"].trained
    assert store.find(address(networks["wild"].node.key)) is None
