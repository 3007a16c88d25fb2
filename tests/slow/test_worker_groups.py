"""Worker groups that must queue: elastic ones, pairs and single ones, more than two CPUs hold at once."""

import pytest
import torch

from tests.integration import studies
from tests.integration.studies import RECIPE, plan, train
from wetakd.assignments import network_address
from wetakd.storage.store import Store

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(900)]


def slow(workers, batch_size=8):
    """Some 40 epochs of a fifth of a second, so that runs which may run together do."""
    recipe = RECIPE | {"epochs": 40, "batch_size": batch_size}
    return {"model": {"name": "tests.integration.studies:slow"}, "recipe": recipe, "taught_by": [], "workers": workers}


def test_elastic_groups_in_a_queue_of_five_finish_on_two_cpus_and_learn_what_one_worker_learns(tmp_path):
    # A batch of nine loses an image where two workers share it.
    assistants = {"elastic": slow([1, 4]), "uneven": slow([1, 2], batch_size=9), "third": slow(1), "fourth": slow(1)}
    made, store = plan(tmp_path, teacher=slow(1), assistants=assistants)
    heard = []
    networks = train(made, store, heard)
    assert {name: network.error for name, network in networks.items()} == dict.fromkeys(networks)
    spans = {}
    for name, network in networks.items():
        assert store.find(network_address(network.node.key)) is not None
        places = [place for place, (uid, _) in enumerate(heard) if uid == network.node.uid]
        assert [heard[place][1].epoch for place in places] == list(range(1, 41))
        spans[name] = range(places[0], places[-1] + 1)
        if name != "uneven":
            alone = Store(str(tmp_path / "alone"))
            studies.trained_here(made, alone, network.node)
            here = studies.weights(alone, network.node, made.dataset)
            there = studies.weights(store, network.node, made.dataset)
            assert all(torch.allclose(here[part], there[part], rtol=1e-4, atol=1e-5) for part in here)
    # Two at a time: some run began before another had ended.
    assert any(first is not second and spans[first].start in spans[second] for first in spans for second in spans), (
        spans
    )
    assert store.list("train") == []
    studies.wait_for_cpus(2)
