"""Worker groups that must queue, more than two CPUs hold at once; and one that is hurt and interrupted."""

import itertools
import os
import signal

import psutil
import pytest
import torch

from tests.integration import tiny_studies
from tests.integration.tiny_studies import RECIPE, plan, train
from wetakd.stages.networks import train_networks
from wetakd.storage.addresses import network_address
from wetakd.storage.atomic_store import Store

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(900)]


def slow(workers, batch_size=8):
    """Some 40 epochs of a fifth of a second, so that runs which may run together do."""
    recipe = RECIPE | {"epochs": 40, "batch_size": batch_size}
    return {
        "model": {"name": "tests.integration.tiny_studies:slow"},
        "recipe": recipe,
        "taught_by": [],
        "workers": workers,
    }


def test_elastic_groups_in_a_queue_of_five_finish_on_two_cpus_and_learn_what_one_worker_learns(tmp_path):
    # A batch of nine loses an image where two workers share it.
    assistants = {"elastic": slow([1, 4]), "uneven": slow([1, 2], batch_size=9), "third": slow(1), "fourth": slow(1)}
    made, store = plan(tmp_path, teacher=slow(1), assistants=assistants)
    reported = []
    networks = train(made, store, reported)
    assert {name: network.error for name, network in networks.items()} == dict.fromkeys(networks)
    spans = {}
    for name, network in networks.items():
        assert store.find(network_address(network.node.key)) is not None
        places = [place for place, (uid, _) in enumerate(reported) if uid == network.node.uid]
        assert [reported[place][1].epoch for place in places] == list(range(1, 41))
        spans[name] = range(places[0], places[-1] + 1)
        if name != "uneven":
            alone = Store(str(tmp_path / "alone"))
            tiny_studies.trained_here(made, alone, network.node)
            here = tiny_studies.weights(alone, network.node, made.dataset)
            there = tiny_studies.weights(store, network.node, made.dataset)
            assert all(torch.allclose(here[part], there[part], rtol=1e-4, atol=1e-5) for part in here)
    # Two at a time: some run began before another had ended.
    assert any(first is not second and spans[first].start in spans[second] for first in spans for second in spans), (
        spans
    )
    assert store.list("train") == []
    tiny_studies.wait_for_cpus(2)


def test_a_silent_worker_and_a_dead_controller_start_the_group_again_and_an_interrupt_ends_it(tmp_path):
    slow = {"model": {"name": "tests.integration.tiny_studies:slow"}, "recipe": RECIPE | {"epochs": 4000}, "workers": 2}
    made, store = plan(tmp_path, teacher=slow, limits={"silent_s": 8, "checkpoint_s": 0})
    hurt, reported = [], []

    def disturb(uid, epoch):
        reported.append(epoch.epoch)
        if not hurt:
            hurt.append(tiny_studies.pids_of("RayTrainWorker")[0])
            os.kill(hurt[0], signal.SIGSTOP)
        elif len(hurt) == 1 and hurt[0] not in psutil.pids():
            hurt.append(tiny_studies.pids_of("TrainController")[0])
            os.kill(hurt[1], signal.SIGKILL)
        elif len(hurt) == 2 and hurt[1] not in psutil.pids() and reported.count(1) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_networks(tiny_studies.context(made, store, disturb))
    # Every try tells what those before it have done, and goes on from there.
    begun = [place for place, epoch in enumerate(reported) if epoch == 1]
    tries = [reported[first:last] for first, last in itertools.pairwise([*begun, len(reported)])]
    assert tries == [list(range(1, len(told) + 1)) for told in tries]
    assert len(tries) == 3
    assert store.find(network_address(made.node_of[0, "teacher"].key)) is None
    tiny_studies.wait_for_cpus(2)
