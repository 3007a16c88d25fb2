"""What a study took: CPUs and GPUs that were asked for, times seconds of training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.unit import tiny
from tests.unit.simulated_results import simulated
from wetakd.config.study_file import load_study_file
from wetakd.plan.study_plan import Plan
from wetakd.report.report import build_report
from wetakd.results.cost_records import StudyCost
from wetakd.results.stored_results import Results
from wetakd.stages.result_tables import spending
from wetakd.stages.searches import Searches
from wetakd.storage.atomic_store import Store

POOL = ("ta8", "ta6", "ta4")
SPENT = 21.0  # seconds of every network of the synthetic tables


def spent(*overrides: str) -> StudyCost:
    results = simulated(pool=POOL)
    plan = Plan(load_study_file(None, overrides), tiny.dataset())
    return spending(plan, results.trials, results.networks, Searches({}, {}, {}, 0))


def test_a_study_without_gpus_counts_none() -> None:
    found = spent()
    assert (found.network_gpu_seconds, found.student_gpu_seconds) == (None, None)
    assert found.network_core_seconds == pytest.approx(4 * SPENT)
    assert not [name for name in build_report(simulated()).headline() if "gpu" in name]


def test_a_teacher_on_gpus_counts_each_gpu_of_each_worker() -> None:
    found = spent("teacher.placement.gpus=2", "teacher.workers=3")
    assert found.network_gpu_seconds == pytest.approx(2 * 3 * SPENT)
    assert found.student_gpu_seconds == 0
    # CPUs count as before, for three workers.
    assert found.network_core_seconds == pytest.approx((3 + 3) * SPENT)


def test_half_a_gpu_counts_half() -> None:
    found = spent("student.placement.gpus=0.5")
    students = simulated(pool=POOL).trials.drop_duplicates("student_key")["train_seconds"].sum()
    assert found.student_gpu_seconds == pytest.approx(0.5 * students)
    assert found.network_gpu_seconds == 0


def test_gpu_seconds_survive_storage_and_reach_json_and_mlflow(tmp_path: Path) -> None:
    results = simulated(num_seeds=2)
    on_gpus = replace(results.spending, network_gpu_seconds=42.0, student_gpu_seconds=7.0)
    store = Store(str(tmp_path))
    Results(**{**results.__dict__, "spending": on_gpus}).write(store)
    again = Results.read(store, results.study)
    assert again.spending == on_gpus
    report = build_report(again)
    assert report.to_dict()["spending"] == asdict(on_gpus)
    assert (report.headline()["network_gpu_seconds"], report.headline()["student_gpu_seconds"]) == (42.0, 7.0)
    assert "In GPU-seconds: networks 42" in report.markdown
