"""What `precision: auto` stands for: recorded once, and used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tiny import dataset
from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import load_study_file
from wetakd.plan import resolved_precision
from wetakd.plan.checks_before_training import check_models
from wetakd.plan.resolved_precision import (
    ResolvedPrecision,
    auto_placements,
    read_precisions,
    resolve_precisions_here,
    write_precisions,
)
from wetakd.plan.study_plan import Plan
from wetakd.storage.atomic_store import Store

AUTO = ["teacher.recipe.precision=auto", "student.recipe.precision=auto"]
GPU = ResolvedPrecision("cuda", "bfloat16")
CPU = ResolvedPrecision("cpu", "float32")


def config(*overrides: str) -> StudyConfig:
    return load_study_file(None, [*AUTO, *overrides])


def test_only_networks_with_auto_are_resolved() -> None:
    assert list(auto_placements(config())) == ["teacher", "student"]
    assert auto_placements(load_study_file(None)) == {}
    swept = load_study_file(None, ["study.sweep={student.recipe.precision: {grid: [auto, float32]}}"])
    assert list(auto_placements(swept)) == ["student"]


def test_what_is_recorded_is_read_again_and_what_is_missing_or_damaged_is_not(tmp_path: Path) -> None:
    store, resolved = Store(str(tmp_path)), {"teacher": GPU, "student": CPU}
    assert read_precisions(store, config()) is None
    assert read_precisions(store, load_study_file(None)) == {}
    write_precisions(store, config(), resolved)
    assert read_precisions(store, config()) == resolved
    assert read_precisions(store, config("assistants.ta8.recipe.precision=auto")) is None
    (tmp_path / "studies" / "digits" / "precision.json").write_text("{}")
    assert read_precisions(store, config()) is None


@pytest.mark.parametrize(("speedup", "precision"), [(1.19, "float32"), (1.2, "bfloat16"), (0.2, "float32")])
def test_bfloat16_is_chosen_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, speedup: float, precision: str
) -> None:
    monkeypatch.setattr(resolved_precision, "bfloat16_speedup", lambda device: speedup)
    found = resolve_precisions_here(config("teacher.placement.gpus=1"))
    assert found == {"teacher": GPU, "student": ResolvedPrecision("cpu", precision)}


def test_a_plan_uses_the_resolved_precision_and_needs_it() -> None:
    plan = Plan(config(), dataset(), {"teacher": CPU, "student": CPU})
    assert plan.node_of[0, "teacher"].precision == "float32"
    assert plan.nodes[0].key == Plan(load_study_file(None), dataset()).nodes[0].key
    with pytest.raises(ValueError, match="teacher: precision auto is not resolved"):
        _ = Plan(config(), dataset()).nodes


def test_work_that_is_left_needs_the_kind_of_device_that_was_recorded(tmp_path: Path) -> None:
    plan = Plan(config(), dataset(), {"teacher": GPU, "student": CPU})
    with pytest.raises(UserError, match=r"^teacher\.placement: gpus is 0, .* bfloat16 for cuda .* --revise$"):
        check_models(plan.config, plan.dataset, plan, Store(str(tmp_path)))
