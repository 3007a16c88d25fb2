"""What a study would do and cost, against what it is made of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.plan.planned_results import store_networks
from tests.unit.tiny import dataset
from wetakd.config import ViewsConfig
from wetakd.config.study_file import load_study_file
from wetakd.data.views import Views
from wetakd.logits import logit_cache
from wetakd.models.registry import new_model
from wetakd.plan.cost_forecast import Forecast, NetworkForecast, forecast
from wetakd.plan.study_plan import Plan
from wetakd.storage.atomic_store import Store
from wetakd.weights import SearchResult


def plan(*overrides: str) -> Plan:
    return Plan(load_study_file(None, overrides), dataset())


def test_the_forecast_of_the_logit_cache_is_what_a_logit_cache_takes(tmp_path: Path) -> None:
    study = plan()
    data = dataset()
    views = Views.of(ViewsConfig(num=4, crop_padding=1))
    table = logit_cache.compute_logits(new_model(study.config.student.model, data, 0), data, views)
    found = forecast(study, Store(str(tmp_path)))
    assert found.cache_passes == 4 * table.num_rows
    assert found.cache_bytes == 4 * table.nbytes


def test_logit_cache_and_trials_grow_as_the_cost_model_says(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    one, two = forecast(plan(), store), forecast(plan("study.replicates=2", "study.seeds=6"), store)
    assert two.cache_bytes == 2 * one.cache_bytes
    assert two.num_trials == 4 * one.num_trials
    assert two.naive_passes == 4 * one.naive_passes
    fewer_views = forecast(plan("views.num=1", "views.crop_padding=0"), store)
    clean = sum(one.num_images[split] for split in ("weigh", "choose", "test"))
    assert one.cache_passes - fewer_views.cache_passes == 4 * 3 * one.num_images["fit"]
    assert fewer_views.cache_passes == 4 * (one.num_images["fit"] + clean)


def test_every_swept_number_of_epochs_counts_for_itself(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    one = forecast(plan("student.recipe.epochs=8"), store)
    swept = forecast(plan("study.sweep={student.recipe.epochs: {grid: [4, 16]}}"), store)
    assert 8 * swept.naive_passes == (4 + 16) * one.naive_passes


def test_networks_on_storage_are_found(tmp_path: Path) -> None:
    store, study = Store(str(tmp_path)), plan()
    node = study.node_of[0, "ta6"]
    store.commit(f"networks/{node.key}", {}, {})
    found = {network.name: (network.num_found, network.num_total) for network in forecast(study, store).networks}
    assert found == {"teacher": (0, 1), "ta8": (0, 1), "ta6": (1, 1), "ta4": (0, 1)}


def search_facts(weights_K: list[float]) -> dict[str, Any]:
    result = SearchResult(np.array(weights_K), "de", 0, "accuracy", 1, 0.1, 0.5, 1.0, 0.5, None, None, None)
    return result.to_dict()


def test_students_on_storage_are_found_once_their_weights_are(tmp_path: Path) -> None:
    store, study = Store(str(tmp_path)), plan("study.seeds=2")
    alone, uniform, evolved = (
        next(trial for trial in study.trials if trial.arm.strategy == strategy)
        for strategy in ("none", "uniform", "de")
    )
    pair = len(evolved.arm.assistants)
    keys = store_networks(store, study)
    for trial, weights_K in ((alone, ()), (evolved, (0.25, *[0.75 / (pair - 1)] * (pair - 1)))):
        store.commit(f"students/{keys.student(trial, weights_K).key}", {}, {})
    assert forecast(study, store).num_students_found == 1
    store.commit(f"searches/{keys.search(evolved).key}", {}, search_facts([0.25] + [0.75 / (pair - 1)] * (pair - 1)))
    store.commit(f"searches/{keys.search(uniform).key}", {}, search_facts([1 / pair] * pair))
    assert forecast(study, store).num_students_found == 2
    assert "equal students train once; 2 found" in forecast(study, store).text


def test_the_text_fits_80_columns(tmp_path: Path) -> None:
    text = forecast(plan("assistants.ta8.placement.gpus=0.5", "teacher.workers=4"), Store(str(tmp_path))).text
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "4 x 1 CPU" in text
    assert "1 CPU, 0.5 GPU" in text
    assert "3 to train" not in text
    assert "4 to train, 0 found" in text


def test_the_declared_contrast_is_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert "declared  the contrast of de against uniform" in forecast(plan(), store).text
    none = forecast(plan("study.primary=null", "study.strategies=[uniform, greedy]"), store)
    assert none.declared is None
    assert "declared  no contrast" in none.text
    assert all(len(line) <= 80 for line in none.text.splitlines())


def test_columns_of_large_networks_and_many_replicates_do_not_touch() -> None:
    large = NetworkForecast("a-large-teacher", (), 1_234_567_890, 10**11, 1_000_000, "1 CPU", 1_000, 1_000)
    row = Forecast._row(large)
    assert row.split() == ["a-large-teacher", "1,234,567,890", "100", "G", "1000000", "1000/1000", "1", "CPU"]


@pytest.mark.parametrize(
    ("overrides", "hint"),
    [
        (
            ["student.placement.cpus=4"],
            "student.placement.cpus is 4, student.recipe.threads 1: idle CPUs of each worker: 3",
        ),
        (
            ["teacher.placement.cpus=2"],
            "is 2, teacher.recipe.threads 1: idle CPUs of each worker: 1",
        ),
        (
            ["assistants.ta6.placement.cpus=3", "assistants.ta6.recipe.threads=2"],
            "assistants.ta6.placement.cpus is 3, assistants.ta6.recipe.threads 2: idle CPUs of each worker: 1",
        ),
        (["student.recipe.threads=4"], "student.placement.cpus is 1, student.recipe.threads 4: threads share CPUs"),
        (
            ["student.placement={cpus: 2, gpus: 1}", "student.recipe.threads=4"],
            "student.placement.cpus is 2, student.recipe.threads 4: threads share CPUs",
        ),
        (
            ["student.placement.cpus=2", "study.sweep={student.recipe.threads: {grid: [1, 4]}}"],
            "student.placement.cpus is 2, student.recipe.threads 4: threads share CPUs",
        ),
    ],
)
def test_cpus_and_threads_that_do_not_fit_get_a_hint(overrides: list[str], hint: str, tmp_path: Path) -> None:
    found = forecast(plan(*overrides), Store(str(tmp_path)))
    assert len(found.hints) == 1
    assert hint in " ".join(found.text.split())
    assert all(len(line) <= 80 for line in found.text.splitlines())


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["student.placement.cpus=4", "student.recipe.threads=4"],
        ["student.placement={cpus: 4, gpus: 1}"],
        ["student.placement.cpus=0.5"],
        ["student.placement.cpus=1.5"],
        ["study.sweep={student.recipe.threads: {grid: [1, 2]}}", "student.placement.cpus=2"],
    ],
)
def test_cpus_and_threads_that_fit_get_none(overrides: list[str], tmp_path: Path) -> None:
    assert forecast(plan(*overrides), Store(str(tmp_path))).hints == ()
