"""Real worker groups of Ray Train: one start is some 30 seconds, so few tests with many assertions."""

import time

import pytest
import ray
import torch

from tests.integration import studies
from tests.integration.studies import NET, RECIPE, plan, train
from tests.unit import tiny
from wetakd.networks import address, train_networks
from wetakd.storage import Store

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

WITHOUT_STATISTICS = {"model": {"name": "tests.integration.studies:without_statistics"}, "recipe": RECIPE}


def test_groups_beside_a_task_finish_on_two_cpus_and_two_workers_learn_what_one_learns(tmp_path):
    made, store = plan(
        tmp_path,
        teacher=NET | {"workers": 0},
        assistants={
            "two": WITHOUT_STATISTICS | {"workers": 2, "taught_by": []},
            "one": WITHOUT_STATISTICS | {"workers": [1, 1], "taught_by": []},
        },
    )
    heard = []
    networks = train(made, store, heard)
    assert {name: network.error for name, network in networks.items()} == dict.fromkeys(networks)
    for network in networks.values():
        epochs = [epoch.epoch for uid, epoch in heard if uid == network.node.uid]
        assert epochs == [1, 2]
        # The same seed as the pair's, in this process and with one worker.
        alone = Store(str(tmp_path / "alone"))
        studies.trained_here(made, alone, network.node)
        here = studies.weights(alone, network.node, made.dataset)
        there = studies.weights(store, network.node, made.dataset)
        assert all(torch.allclose(here[name], there[name], rtol=1e-4, atol=1e-5) for name in here)
    assert store.list("train") == []
    studies.wait_for_cpus(2)


def test_a_group_that_diverges_is_not_tried_again_and_an_interrupt_ends_one(tmp_path):
    wild = WITHOUT_STATISTICS | {"workers": 1, "recipe": RECIPE | {"lr": 1e30}}
    slow = {"model": {"name": "tests.integration.studies:slow"}, "recipe": RECIPE | {"epochs": 4000}, "workers": 1}
    made, store = plan(tmp_path, teacher=wild, assistants={"slow": slow | {"taught_by": []}})
    heard = []

    def interrupt(uid, epoch):
        heard.append(uid)
        if uid.endswith("slow") and epoch.epoch >= 3 and store.find(address(made.node_of[0, "slow"].key)) is None:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train_networks(made, store, ray.put(tiny.dataset()), interrupt)
    assert time.monotonic() - began < 200
    studies.wait_for_cpus(2)
