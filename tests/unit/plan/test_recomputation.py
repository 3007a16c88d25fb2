"""Why a study would compute results again: the first difference to what is stored."""

from __future__ import annotations

from pathlib import Path

from tests.unit.plan.planned_results import store_networks
from tests.unit.tiny import dataset
from wetakd.common.canonical_json import key_of
from wetakd.config.study_file import load_study_file
from wetakd.plan.key_payloads import cache_payload
from wetakd.plan.recomputation import find_recomputations, payload_differences
from wetakd.plan.study_plan import Plan
from wetakd.storage import failure_records
from wetakd.storage.addresses import logit_cache_address, network_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.failure_records import Failure


def make_plan(*overrides: str) -> Plan:
    return Plan(load_study_file(None, ["study.strategies=[uniform]", "study.primary=null", *overrides]), dataset())


def test_a_study_of_which_nothing_is_stored_says_so(tmp_path: Path) -> None:
    found = find_recomputations(Store(str(tmp_path)), make_plan())
    assert found[0].names[:4] == ("teacher", "ta8", "ta6", "ta4")
    assert found[0].reason == "nothing of its kind is stored"


def test_the_first_difference_is_named_and_what_depends_on_it_refers_to_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store_networks(store, make_plan())
    networks = {"teacher", "ta8", "ta6", "ta4"}
    before = find_recomputations(store, make_plan())
    assert not [found for found in before if networks & set(found.names)]
    texts = [found.text for found in find_recomputations(store, make_plan("teacher.recipe.epochs=40"))]
    assert texts[0] == "teacher: recipe.epochs 8 -> 40"
    assert texts[1].startswith("ta8 and ")
    assert texts[1].endswith(": its teacher teacher would be trained again")
    (assistant,) = (
        found for found in find_recomputations(store, make_plan("assistants.ta6.recipe.lr=0.1")) if "ta6" in found.names
    )
    assert assistant.reason == "recipe.lr 0.05 -> 0.1"


def test_a_field_that_is_left_out_shows_its_default() -> None:
    assert payload_differences({"recipe": {"epochs": 3}}, {"recipe": {}}) == ["recipe.epochs 3 -> 20"]
    assert payload_differences({"data": "a"}, {"data": "b"}) == ["data: other images, splits or transform"]
    assert payload_differences({"teachers": 1, "seed": 2}, {"teachers": 2, "seed": 2}, ignored=["teachers"]) == []


def test_a_missing_cache_is_named(tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), make_plan()
    store_networks(store, plan)
    network = store.find(network_address(plan.nodes[0].key))
    assert network is not None
    store.delete(logit_cache_address(key_of(cache_payload(plan.nodes[0].key, network))))
    assert find_recomputations(store, plan)[0].text == "teacher: its logits are not stored"


def test_pupils_of_a_network_that_failed_are_not_computed(tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), make_plan()
    failure_records.record_failure(store, network_address(plan.node_of[0, "teacher"].key), Failure("it diverged"))
    assert {name for found in find_recomputations(store, plan) for name in found.names} == {
        f"no distillation, seed {seed}" for seed in plan.config.study.seeds
    }


def test_logits_whose_failure_is_recorded_are_not_computed(tmp_path: Path) -> None:
    store, plan = Store(str(tmp_path)), make_plan()
    store_networks(store, plan)
    address = network_address(plan.node_of[0, "ta6"].key)
    network = store.find(address)
    assert network is not None
    store.delete(logit_cache_address(key_of(cache_payload(plan.node_of[0, "ta6"].key, network))))
    failure_records.record_failure(store, address, Failure("a logit is beyond the range of float16"))
    names = {name for found in find_recomputations(store, plan) for name in found.names}
    assert names
    assert not [name for name in names if "ta6" in name]
