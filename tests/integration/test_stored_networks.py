"""A study goes on where the devices of its finished networks are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.small_study import study
from tests.planted_networks import plant_networks
from wetakd import Study, StudyConfig
from wetakd.common.errors import UserError
from wetakd.common.progress import QuietReporter
from wetakd.data.dataset import Dataset
from wetakd.logits import logit_cache
from wetakd.plan.key_payloads import cache_payload
from wetakd.plan.result_keys import cache_key
from wetakd.plan.study_plan import Plan
from wetakd.stages.data_loading import load_data
from wetakd.storage.addresses import logit_cache_address, network_address
from wetakd.storage.atomic_store import Store

# No node of the tests' cluster has it: it stands for a GPU, which takes the same way through all checks.
ELSEWHERE = {"resources": {"elsewhere": 1}}


def config_at(folder: Path, **teacher: Any) -> StudyConfig:
    config = study(folder)
    tree = config.model_dump(mode="json")
    tree["study"] |= {"strategies": ["uniform"], "seeds": 1, "controls": ["teacher"]}
    tree["mlflow"] = {"enabled": False}
    tree["teacher"]["placement"] = ELSEWHERE
    tree["teacher"]["recipe"] |= {"epochs": 1} | teacher
    return StudyConfig.model_validate(tree)


def dataset_of(config: StudyConfig) -> Dataset:
    return load_data(config, QuietReporter())


@pytest.mark.usefixtures("ray_cluster")
def test_a_finished_network_needs_no_device_and_a_missing_one_does(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    with pytest.raises(UserError, match=r"^teacher\.placement: 1 worker\(s\) of 1 CPU, 1 elsewhere can never run here"):
        Study(config).run()
    plant_networks(config, dataset_of(config), ["teacher"])
    result = Study(config).run()
    assert result.num_networks_trained == 2  # the assistants
    assert result.table["error"].isna().all()
    assert result.num_students_trained > 0


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("kind", ["networks", "caches"])
def test_a_network_whose_weights_or_logits_are_lost_needs_its_device_again(kind: str, tmp_path: Path) -> None:
    config = config_at(tmp_path)
    data = dataset_of(config)
    teacher = plant_networks(config, data, ["teacher"])[0, "teacher"]
    assert teacher.manifest is not None
    cache = logit_cache_address(cache_key(teacher.node, teacher.manifest))
    Store(config.storage).delete(cache if kind == "caches" else network_address(teacher.node.key))
    with pytest.raises(UserError, match=r"^teacher\.placement: "):
        Study(config).run()


@pytest.mark.usefixtures("ray_cluster")
def test_float16_needs_a_gpu_only_for_what_is_still_to_train(tmp_path: Path) -> None:
    """As after training on a GPU, with the placement changed to the CPU: placement is in no key."""
    config = config_at(tmp_path, precision="float16")
    data = dataset_of(config)
    with pytest.raises(UserError, match=r"^teacher\.recipe\.precision: float16 needs a GPU"):
        Study(config).run()
    _plant_under_the_key_of(config, config_at(tmp_path / "trained", precision="float32"), data)
    result = Study(config).run()
    assert result.num_networks_trained == 2
    assert result.table["error"].isna().all()


def _plant_under_the_key_of(config: StudyConfig, trained: StudyConfig, data: Dataset) -> None:
    """Weights of float32 stand for those of float16, which no CPU trains."""
    teacher = plant_networks(trained, data, ["teacher"])[0, "teacher"]
    assert teacher.manifest is not None
    source, store = Store(trained.storage), Store(config.storage)
    node = Plan(config, data).node_of[0, "teacher"]
    blobs = {name: source.read(teacher.manifest, name).to_pybytes() for name in teacher.manifest.blobs}
    network = store.commit(network_address(node.key), blobs, teacher.manifest.facts, node.payload)
    cache = logit_cache.read_cache(source, cache_key(teacher.node, teacher.manifest))
    assert cache is not None
    logit_cache.write_cache(store, cache_payload(node.key, network), cache.table)
