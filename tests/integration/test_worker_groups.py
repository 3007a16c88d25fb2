"""Real worker groups of Ray Train: one start is some 30 seconds, so few tests with many assertions."""

import itertools
import os
import signal

import psutil
import pytest
import ray
import torch

from tests.integration import studies
from tests.integration.studies import NET, RECIPE, plan, train
from wetakd.assignments import network_address
from wetakd.networks import train_networks
from wetakd.storage.store import Store

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

NO_NORM = {"model": {"name": "tests.integration.studies:without_statistics"}, "recipe": RECIPE, "taught_by": []}
WILD = NO_NORM | {"recipe": RECIPE | {"lr": 1e30}}


def test_groups_and_a_task_finish_on_two_cpus_and_two_workers_learn_what_one_learns(tmp_path):
    made, store = plan(
        tmp_path,
        teacher=NET | {"workers": 0},
        # At most two of them fit at a time; an elastic one takes what there is.
        assistants={
            "pair": NO_NORM | {"workers": 2},
            "one": NO_NORM | {"workers": [1, 1]},
            "wild": WILD | {"workers": 1},
        },
    )
    heard = []
    networks = train(made, store, heard)
    # Told once: a network that diverges is not tried again.
    assert "diverged" in networks.pop("wild").error
    for network in networks.values():
        assert network.error is None
        assert [epoch.epoch for uid, epoch in heard if uid == network.node.uid] == [1, 2]
        # The same network with one worker, in this process.
        alone = Store(str(tmp_path / "alone"))
        studies.trained_here(made, alone, network.node)
        here = studies.weights(alone, network.node, made.dataset)
        there = studies.weights(store, network.node, made.dataset)
        assert all(torch.allclose(here[name], there[name], rtol=1e-4, atol=1e-5) for name in here)
    assert store.list("train") == []
    studies.wait_for_cpus(2)


def test_a_silent_worker_and_a_dead_controller_start_the_group_again_and_an_interrupt_ends_it(tmp_path):
    slow = {"model": {"name": "tests.integration.studies:slow"}, "recipe": RECIPE | {"epochs": 4000}, "workers": 2}
    made, store = plan(tmp_path, teacher=slow, limits={"silent_s": 8, "checkpoint_s": 0})
    hurt, heard = [], []

    def disturb(uid, epoch):
        heard.append(epoch.epoch)
        if not hurt:
            hurt.append(studies.pids_of("RayTrainWorker")[0])
            os.kill(hurt[0], signal.SIGSTOP)
        elif len(hurt) == 1 and hurt[0] not in psutil.pids():
            hurt.append(studies.pids_of("TrainController")[0])
            os.kill(hurt[1], signal.SIGKILL)
        elif len(hurt) == 2 and hurt[1] not in psutil.pids() and heard.count(1) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_networks(made, store, ray.put(made.dataset), disturb)
    # Every try tells what those before it have done, and goes on from there.
    begun = [place for place, epoch in enumerate(heard) if epoch == 1]
    tries = [heard[first:last] for first, last in itertools.pairwise([*begun, len(heard)])]
    assert tries == [list(range(1, len(told) + 1)) for told in tries]
    assert len(tries) == 3
    assert store.find(network_address(made.node_of[0, "teacher"].key)) is None
    studies.wait_for_cpus(2)
