"""The graph of networks on a real cluster: order, logit caches, failures, damage, death and interruption."""

import os
import signal
import threading

import numpy as np
import psutil
import pytest
import ray
import torch
from ray.train import WorkerGroupError

from tests.integration import tiny_studies
from tests.integration.tiny_studies import HANGING, LONG_EPOCH, NET, PLAIN, RECIPE, plan, train
from wetakd.common.errors import UserError
from wetakd.data.views import Views
from wetakd.logits import logit_cache
from wetakd.plan.result_keys import cache_key
from wetakd.stages import training_run
from wetakd.stages.networks import _user_error, train_networks
from wetakd.storage import failure_records
from wetakd.storage.addresses import logit_cache_address, network_address
from wetakd.storage.atomic_store import Store
from wetakd.training.failures import UserFunctionError

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

TWO_AND_THEIR_PUPIL = {
    "second": NET,
    "first": NET,
    "pupil": NET | {"taught_by": ["first", "second"]},
}


def test_a_graph_trains_in_order_and_a_second_call_trains_nothing(tmp_path):
    made, store = plan(tmp_path, assistants=TWO_AND_THEIR_PUPIL)
    reported = []
    networks = train(made, store, reported)
    assert all(network.trained and network.error is None for network in networks.values())
    begun = [uid.rpartition(":")[2] for uid, epoch in reported if epoch.epoch == 1]
    assert sorted(begun) == sorted(networks)
    views = Views.of(made.config.views)
    for network in networks.values():
        module = training_run.load_model(store, network.manifest, network.node.config.model, made.dataset)
        assert logit_cache.compute_logits(module, made.dataset, views).equals(ray.get(network.ref))
    tables = [ray.get(networks[name].ref) for name in ("first", "second")]
    alone = Store(str(tmp_path / "alone"))
    tiny_studies.trained_here(made, alone, networks["pupil"].node, tables)
    here = tiny_studies.weights(alone, networks["pupil"].node, made.dataset)
    there = tiny_studies.weights(store, networks["pupil"].node, made.dataset)
    assert all(torch.equal(here[name], there[name]) for name in here)

    again = train(made, store, reported := [])
    assert not any(network.trained for network in again.values())
    assert reported == []
    assert all(network.manifest == networks[name].manifest for name, network in again.items())
    assert np.array_equal(
        *[logit_cache.logits_of_table(ray.get(found["pupil"].ref)).test_NC for found in (networks, again)]
    )


def test_a_network_that_diverges_costs_itself_and_its_pupils_only(tmp_path):
    wild = {"model": PLAIN, "recipe": RECIPE | {"lr": 1e30}}
    assistants = {"wild": wild, "pupil": NET | {"taught_by": ["wild"]}, "calm": NET}
    made, store = plan(tmp_path, assistants=assistants)
    networks = train(made, store)
    assert "diverged" in networks["wild"].error
    assert networks["pupil"].error == "its teacher wild failed"
    assert networks["calm"].error is None
    assert networks["calm"].trained
    assert store.find(network_address(networks["wild"].node.key)) is None
    assert (
        failure_records.find_failure(store, network_address(networks["wild"].node.key)).reason == networks["wild"].error
    )
    assert failure_records.find_failure(store, network_address(networks["pupil"].node.key)) is None


def test_an_error_of_a_users_model_is_recorded_and_a_lack_of_memory_is_tried_again(tmp_path):
    markers = {error: tmp_path / error for error in ("bug", "memory")}
    assistants = {error: tiny_studies.failing_network(marker, error) for error, marker in markers.items()}
    made, store = plan(tmp_path / "store", assistants=assistants)
    first, second = train(made, store), train(made, store)
    for networks in (first, second):
        assert "studies:failing raised ValueError: a bug" in networks["bug"].error
        assert networks["memory"].error == "out of memory"
        assert networks["teacher"].error is None
    assert {error: len(marker.read_text().split()) for error, marker in markers.items()} == {"bug": 1, "memory": 2}
    assert failure_records.find_failure(store, network_address(first["memory"].node.key)) is None
    failure_records.forget_failures_at(store, [network_address(first["bug"].node.key)])
    train(made, store)
    assert len(markers["bug"].read_text().split()) == 2


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damaged_weights_and_logit_caches_are_made_again(tmp_path):
    made, store = plan(tmp_path)
    before = train(made, store)
    key = before["first"].node.key
    sound = tiny_studies.weights(store, before["first"].node, made.dataset)
    damage(next((tmp_path / network_address(key)).glob("weights-*")))
    cache = cache_key(before["teacher"].node, before["teacher"].manifest)
    damage(next((tmp_path / logit_cache_address(cache)).glob("logits-*")))
    after = train(made, store)
    assert after["first"].trained
    assert not after["teacher"].trained
    again = tiny_studies.weights(store, after["first"].node, made.dataset)
    assert all(torch.equal(sound[name], again[name]) for name in sound)
    for name in before:
        assert ray.get(before[name].ref).equals(ray.get(after[name].ref))
        assert before[name].cache_digest == after[name].cache_digest


def test_storage_that_the_driver_does_not_share_with_its_workers_is_said_and_not_tried_for_ever(tmp_path, monkeypatch):
    made, store = plan(tmp_path)
    # As where a worker on another machine writes to a folder of its own.
    monkeypatch.setattr(Store, "find_intact", lambda *_: None)
    with pytest.raises(UserError, match=r"^storage: .* does not have what a worker wrote there .*all nodes share"):
        train(made, store)


def test_of_a_failed_group_only_an_error_of_the_users_function_counts_as_the_users():
    theirs = UserFunctionError("my.module:model raised ValueError")
    assert _user_error(WorkerGroupError("two workers", {0: RuntimeError("connection closed"), 1: theirs})) is theirs
    assert _user_error(WorkerGroupError("one worker", {0: RuntimeError("connection closed")})) is None


def test_a_network_whose_logits_no_logit_cache_can_hold_costs_itself_and_says_so_in_one_line(tmp_path):
    loud = NET | {"model": {"name": "tests.integration.tiny_studies:loud"}}
    made, store = plan(tmp_path, assistants={"loud": loud, "calm": NET})
    networks = train(made, store)
    assert "float16" in networks["loud"].error
    recorded = failure_records.find_failure(store, network_address(networks["loud"].node.key))
    assert recorded.reason == networks["loud"].error
    assert len(recorded.epochs) == RECIPE["epochs"]
    assert train(made, store)["loud"].error == recorded.reason
    assert "\n" not in networks["loud"].error
    assert networks["calm"].error is None


SLOW = {"name": "tests.integration.tiny_studies:slow"}


def undisturbed(made, folder):
    """Weights of the teacher, trained in this process."""
    alone = Store(str(folder))
    node = made.node_of[0, "teacher"]
    tiny_studies.trained_here(made, alone, node)
    return tiny_studies.weights(alone, node, made.dataset)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_falls_silent_in_mid_training_costs_nothing(tmp_path, sign):
    made, store = plan(
        tmp_path / "store",
        teacher={"model": SLOW, "recipe": RECIPE | {"epochs": 40}},
        limits={"checkpoint_s": 0, "silent_s": 4, "retries": 1},
    )
    struck = []

    def strike(uid, epoch):
        if not struck:
            struck.append(tiny_studies.pids_of(uid)[0])
            os.kill(struck[0], sign)

    networks = train_networks(tiny_studies.context(made, store, strike))
    assert not psutil.pid_exists(struck[0])
    assert {place: network.error for place, network in networks.items() if network.error} == {}
    expected = undisturbed(made, tmp_path / "alone")
    found = tiny_studies.weights(store, made.node_of[0, "teacher"], made.dataset)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert len(networks[0, "teacher"].facts.epochs) == 40


def test_an_epoch_may_be_longer_than_a_step_may_hang_and_a_hanging_step_names_the_limit(tmp_path):
    made, store = plan(
        tmp_path, teacher=LONG_EPOCH, assistants={"hangs": HANGING}, limits={"silent_s": 4, "retries": 0}
    )
    networks = train(made, store)
    assert networks["teacher"].error is None
    assert networks["teacher"].facts.train_seconds > 10
    assert "raise limits.silent_s" in networks["hangs"].error
    assert "\n" not in networks["hangs"].error


def test_a_worker_that_dies_at_every_try_costs_its_network(tmp_path):
    dying = {"model": {"name": "tests.integration.tiny_studies:dying"}, "recipe": RECIPE}
    made, store = plan(tmp_path, assistants={"dying": dying, "calm": NET}, limits={"retries": 1})
    networks = train(made, store)
    assert "died more than 1 times" in networks["dying"].error
    assert networks["calm"].error is None


def test_an_interrupt_ends_the_training_at_once_and_the_next_run_goes_on(tmp_path):
    made, store = plan(tmp_path, teacher={"model": SLOW, "recipe": RECIPE | {"epochs": 400}})
    reported = []

    def interrupt(uid, epoch):
        reported.append(epoch.epoch)
        if epoch.epoch >= 3:
            # As Ctrl-C would: the signal reaches the driver's main thread.
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_networks(tiny_studies.context(made, store, interrupt))
    tiny_studies.wait_for_cpus(2)
    assert max(reported) < 400
    assert store.find(network_address(made.node_of[0, "teacher"].key)) is None


def test_an_error_of_one_network_cancels_the_others(tmp_path):
    broken = NET | {"model": {"name": "tests.integration.tiny_studies:broken"}, "taught_by": []}
    made, store = plan(
        tmp_path, teacher={"model": SLOW, "recipe": RECIPE | {"epochs": 4000}}, assistants={"broken": broken}
    )
    with pytest.raises(UserError, match="a bug of the model"):
        train(made, store)
    tiny_studies.wait_for_cpus(2)
    assert store.find(network_address(made.node_of[0, "teacher"].key)) is None


def test_the_threads_of_the_driver_do_not_grow_with_the_networks(tmp_path):
    study = {"name": "tiny", "seeds": 1, "strategies": ["uniform"], "replicates": 30}
    short = NET | {"recipe": RECIPE | {"epochs": 1}}
    made, store = plan(tmp_path, study=study, teacher=short, assistants={"first": short})
    before, during = threading.active_count(), []
    networks = train_networks(tiny_studies.context(made, store, lambda *_: during.append(threading.active_count())))
    assert len(networks) == 60
    assert not [network.error for network in networks.values() if network.error]
    assert max(during) - before < 25
