"""`precision: auto` on a real cluster: measured once, recorded, and used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.small_study import study, tree
from wetakd import Study
from wetakd.config.study_file import config_from_tree
from wetakd.plan.resolved_precision import ResolvedPrecision, read_precisions
from wetakd.stages import precision
from wetakd.stages.precision import resolve_precisions
from wetakd.storage.atomic_store import Store


def test_each_network_with_auto_is_resolved_on_nodes_that_can_run_it(ray_cluster: None, tmp_path: Path) -> None:
    assert resolve_precisions(study(tmp_path)) == {}
    teacher = tree(tmp_path)["teacher"]
    auto = {**teacher, "recipe": {**teacher["recipe"], "precision": "auto"}}
    found = resolve_precisions(study(tmp_path, teacher=auto))
    assert list(found) == ["teacher"]
    assert found["teacher"].device == "cpu"
    assert found["teacher"].precision in ("float32", "bfloat16")


def test_a_study_keeps_the_precision_that_it_began_with(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = tree(tmp_path)
    auto = {**blocks["student"], "recipe": {**blocks["student"]["recipe"], "precision": "auto"}}
    few = {**blocks["study"], "strategies": ["uniform"], "seeds": 1, "controls": ["none"]}
    config = config_from_tree(blocks | {"student": auto, "study": few, "mlflow": {"enabled": False}})
    monkeypatch.setattr(precision, "bfloat16_speedup", lambda device: 0.5)
    first = Study(config).run()
    resolved = {"student": ResolvedPrecision("cpu", "float32")}
    assert read_precisions(Store(config.storage), config) == resolved

    # This machine would choose otherwise now: what is stored stays valid.
    monkeypatch.setattr(precision, "bfloat16_speedup", lambda device: 5.0)
    again = Study(config).run()
    assert (again.num_networks_trained, again.num_students_trained) == (0, 0)
    assert read_precisions(Store(config.storage), config) == resolved

    revised = Study(config, revise=True).run()
    assert revised.num_networks_trained == 0
    assert revised.num_students_trained == first.num_students_trained
    assert read_precisions(Store(config.storage), config) == {"student": ResolvedPrecision("cpu", "bfloat16")}
