"""Swept fields of the student, and the declared contrast: what a study file may say of them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml

from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import config_from_tree, embedded_study


def swept(sweep: Any, **student: Any) -> StudyConfig:
    tree = yaml.safe_load(embedded_study())
    tree["study"]["sweep"] = sweep
    tree["student"] |= student
    return config_from_tree(tree)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            {"student.recipe.learning_rate": {"grid": [0.1]}},
            "study.sweep.student.recipe.learning_rate: is not a known field; student.recipe has epochs, batch_size, ",
        ),
        ({"student.recipe.": {"grid": [1]}}, "study.sweep.student.recipe.: is not a known field"),
        ({"student.recipe": {"grid": [1]}}, "study.sweep.student.recipe: "),
        ({"student.model.depth": {"grid": [1]}}, "study.sweep.student.model.depth: only student.recipe.*"),
        (
            {"student.recipe.lr": {"grid": [0.1, -1]}},
            "study.sweep.student.recipe.lr.grid.1: must be greater than 0, got -1",
        ),
        (
            {"student.recipe.epochs": {"grid": [2, "many"]}},
            "study.sweep.student.recipe.epochs.grid.1: must be a whole number, got 'many'",
        ),
        (
            {"student.distillation.loss": {"grid": ["kdd"]}},
            "study.sweep.student.distillation.loss.grid.0: 'kdd' must be one of kd, dkd, dist",
        ),
        (
            {"student.recipe.milestones": {"grid": [[0.5], [0.5, 2]]}},
            "study.sweep.student.recipe.milestones.grid.1: must be less than 1, got 2",
        ),
        (
            {"student.recipe.momentum": {"uniform": [0, 1]}},
            "study.sweep.student.recipe.momentum.uniform.1: must be less than 1, got 1.0",
        ),
        (
            {"student.recipe.gamma": {"loguniform": [0.1, 10]}},
            "study.sweep.student.recipe.gamma.loguniform.1: must be at most 1, got 10.0",
        ),
        # Both ends are whole numbers, but what is drawn between them is not.
        ({"student.recipe.epochs": {"uniform": [1, 10]}}, "epochs: must be a whole number, got "),
        # Each value is valid, and so is each with the student's block as it is.
        (
            {"student.recipe.warmup_epochs": {"grid": [0, 5]}, "student.recipe.epochs": {"grid": [4, 8]}},
            'study.sweep: the point {"student.recipe.epochs": 4, "student.recipe.warmup_epochs": 5} is not a valid '
            "student: warmup_epochs: must be less than epochs (4), got 5",
        ),
        ({"student.distillation.alpha": {"uniform": [2, 3]}}, "ce_weight: must be given"),
    ],
)
def test_a_wrong_swept_field_or_value_is_refused_with_its_place(sweep: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        swept(sweep)
    assert message in str(caught.value)
    assert str(caught.value).startswith("study.sweep")


def test_a_value_may_break_a_rule_with_the_students_block_that_it_keeps_at_every_point() -> None:
    config = swept(
        {"student.recipe.warmup_epochs": {"grid": [9, 10]}, "student.recipe.epochs": {"grid": [12, 20]}},
    )
    assert config.student.recipe.epochs < 9


def test_validate_finds_a_wrong_swept_field_without_torch_or_ray() -> None:
    words = ["validate", "--set", "study.sweep={student.recipe.learning_rate: {grid: [0.1]}}"]
    code = f"""
import sys
from wetakd.commands import main as cli
sys.argv[1:] = {words}
try:
    cli.main()
except SystemExit as ended:
    print(ended.code, *sorted({{"torch", "ray", "mlflow"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "2\n"
    assert "study.sweep.student.recipe.learning_rate: is not a known field" in done.stderr


def compared(*strategies: str, **primary: str) -> StudyConfig:
    tree = yaml.safe_load(embedded_study())
    tree["study"]["strategies"] = list(strategies)
    del tree["study"]["primary"]
    if primary:
        tree["study"]["primary"] = primary
    return config_from_tree(tree)


def test_de_against_uniform_is_declared_where_both_are_compared() -> None:
    assert compared("uniform", "de").study.declared == ("de", "uniform")
    for strategies in (("uniform", "greedy"), ("de", "greedy"), ("convex",)):
        assert compared(*strategies).study.primary is None
        assert compared(*strategies).study.declared is None
    assert compared("uniform", "de", "greedy", strategy="greedy").study.declared == ("greedy", "uniform")


@pytest.mark.parametrize(
    ("primary", "message"),
    [
        ({"against": "greedy"}, "study.primary.strategy: must be one of study.strategies (uniform, greedy), got 'de'"),
        (
            {"strategy": "greedy", "against": "de"},
            "study.primary.against: must be one of study.strategies (uniform, greedy), got 'de'",
        ),
    ],
)
def test_a_declared_contrast_of_strategies_that_are_not_compared_is_refused(
    primary: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        compared("uniform", "greedy", **primary)
    assert str(caught.value) == message
