"""Real worker groups of Ray Train: one start is some 30 seconds, so one test of many; more in tests/slow."""

import pytest
import torch

from tests.integration import tiny_studies
from tests.integration.tiny_studies import NET, RECIPE, plan, train
from wetakd.storage.atomic_store import Store

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

NO_NORM = {"model": {"name": "tests.integration.tiny_studies:without_statistics"}, "recipe": RECIPE, "taught_by": []}
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
    reported = []
    networks = train(made, store, reported)
    # Told once: a network that diverges is not tried again.
    assert "diverged" in networks.pop("wild").error
    for network in networks.values():
        assert network.error is None
        assert [epoch.epoch for uid, epoch in reported if uid == network.node.uid] == [1, 2]
        # The same network with one worker, in this process.
        alone = Store(str(tmp_path / "alone"))
        tiny_studies.trained_here(made, alone, network.node)
        here = tiny_studies.weights(alone, network.node, made.dataset)
        there = tiny_studies.weights(store, network.node, made.dataset)
        assert all(torch.allclose(here[name], there[name], rtol=1e-4, atol=1e-5) for name in here)
    assert store.list("train") == []
    tiny_studies.wait_for_cpus(2)
