"""What a study consists of: arms, trials, and keys that know everything that matters and nothing else."""

from typing import Any

import pytest
import yaml

from tests.unit.plan.made_plans import make_plan
from tests.unit.plan.planned_results import invented_keys
from tests.unit.tiny import dataset
from wetakd.common.canonical_json import seed_of
from wetakd.config import StudyConfig
from wetakd.config.study_file import config_from_tree, embedded_study, load_study_file
from wetakd.plan.result_keys import ResultKeys
from wetakd.plan.study_plan import Plan, control_weights
from wetakd.plan.trials import Arm, Trial


def keys(*overrides: str) -> dict[str, str]:
    return {node.name: node.key for node in make_plan(*overrides).nodes}


def test_the_embedded_study_has_controls_and_every_strategy_on_every_subset() -> None:
    arms = make_plan().arms
    labels = [arm.label for arm in arms]
    assert labels[:6] == [
        "none",
        "teacher teacher",
        "single ta8",
        "single ta6",
        "single ta4",
        "dgkd teacher+ta8+ta6+ta4",
    ]
    assert len(arms) == 6 + 4 * 6
    assert len(set(labels)) == len(labels)
    # A subset of one leaves nothing to weigh.
    assert all(len(arm.assistants) > 1 for arm in arms if arm.is_searched)
    assert len(make_plan().trials) == len(arms) * 3


def test_seeds_are_paired_across_arms_and_new_in_every_replicate() -> None:
    trials = make_plan("study.replicates=2").trials
    seeds: dict[tuple[int, int], set[int]] = {}
    for trial in trials:
        seeds.setdefault((trial.replicate, trial.seed), set()).add(trial.student_seed)
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 6


def test_replicates_repeat_every_network_with_new_seeds() -> None:
    nodes = make_plan("study.replicates=2").nodes
    assert len(nodes) == 8
    assert len({node.seed for node in nodes}) == len({node.key for node in nodes}) == 8
    # Adding a replicate leaves the first one's networks where they were.
    assert [node.key for node in nodes[:4]] == [node.key for node in make_plan().nodes]


@pytest.mark.parametrize(
    "override",
    [
        "teacher.recipe.lr=0.01",
        "teacher.recipe.epochs=3",
        "teacher.recipe.threads=3",
        "teacher.model.options.depth=8",
        "teacher.workers=2",
        "views.num=3",
        "views.seed=1",
        "study.seed=1",
    ],
)
def test_what_changes_the_teacher_changes_every_key_below_it(override: str) -> None:
    before, after = keys(), keys(override)
    assert all(before[name] != after[name] for name in before)


@pytest.mark.parametrize(
    "override",
    [
        "teacher.placement.cpus=2",
        "study.name=other",
        "study.seeds=9",
        "storage=/elsewhere",
        "limits.retries=0",
        "student.recipe.lr=0.5",
        "mlflow.enabled=false",
    ],
)
def test_what_does_not_change_a_network_leaves_its_key_alone(override: str) -> None:
    assert keys() == keys(override)


def test_an_assistant_changes_alone() -> None:
    before, after = keys(), keys("assistants.ta6.recipe.lr=0.5")
    assert {name for name in before if before[name] != after[name]} == {"ta6"}


def test_the_data_stands_in_every_key() -> None:
    from dataclasses import replace

    config = load_study_file(None)
    other = Plan(config, replace(dataset(), fingerprint="other"))
    plan = Plan(config, dataset())
    assert not {node.key for node in other.nodes} & {node.key for node in plan.nodes}
    # The same logits, as imported networks may have them: the labels may differ.
    caches = {(node.replicate, node.name): "digest" for node in plan.nodes}
    one, two = ResultKeys(plan, caches), ResultKeys(other, caches)
    trial = next(trial for trial in plan.trials if trial.arm.is_searched)
    weights = control_weights(trial)
    assert one.search(trial).key != two.search(trial).key
    assert one.contributions(0).key != two.contributions(0).key
    assert one.student(trial, weights).key != two.student(trial, weights).key


def test_equal_students_have_one_key() -> None:
    study = make_plan()
    full = ("ta8", "ta6", "ta4")
    uniform = invented_keys(study).student(Trial(Arm("uniform", full), 0, 0), (1 / 3, 1 / 3, 1 / 3))
    greedy = invented_keys(study).student(Trial(Arm("greedy", full), 0, 0), (1 / 3, 1 / 3, 1 / 3))
    assert uniform.key == greedy.key
    # Weight on one network alone is that network's student, whatever the subset was.
    lone = invented_keys(study).student(Trial(Arm("de", ("ta8", "ta6")), 0, 0), (1.0, 0.0))
    single = Trial(Arm("single", ("ta8",)), 0, 0)
    assert lone.key == invented_keys(study).student(single, control_weights(single)).key
    assert lone.key != invented_keys(study).student(Trial(Arm("single", ("ta8",)), 0, 1), (1.0,)).key


def test_a_student_without_teachers_ignores_the_distillation_block() -> None:
    trial = Trial(Arm("none", ()), 0, 0)
    hot = make_plan("student.distillation.temperature=9")
    assert invented_keys(make_plan()).student(trial, ()).key == invented_keys(hot).student(trial, ()).key
    taught = Trial(Arm("teacher", ("teacher",)), 0, 0)
    assert invented_keys(make_plan()).student(taught, (1.0,)).key != invented_keys(hot).student(taught, (1.0,)).key


def swept(**sweep: Any) -> StudyConfig:
    tree = yaml.safe_load(embedded_study())
    tree["study"]["sweep"] = {f"student.{field.replace('__', '.')}": values for field, values in sweep.items()}
    tree["study"]["sweep_samples"] = 3
    return config_from_tree(tree)


def test_a_sweep_multiplies_grids_with_draws() -> None:
    config = swept(recipe__lr={"grid": [0.1, 0.2]}, distillation__temperature={"uniform": [1, 8]})
    study = Plan(config, dataset())
    assert len(study.points) == 6
    students = [study.student_config(point) for point in study.points]
    assert {student.recipe.lr for student in students} == {0.1, 0.2}
    temperatures = {student.distillation.temperature for student in students}
    assert len(temperatures) == 3
    assert all(1 <= temperature <= 8 for temperature in temperatures)
    assert study.points == Plan(config, dataset()).points


def test_another_swept_field_moves_no_draw() -> None:
    one = Plan(swept(recipe__lr={"loguniform": [0.01, 1]}), dataset())
    two = Plan(swept(recipe__lr={"loguniform": [0.01, 1]}, recipe__momentum={"uniform": [0, 0.9]}), dataset())
    assert [one.student_config(p).recipe.lr for p in one.points] == [
        two.student_config(p).recipe.lr for p in two.points
    ]


def test_searches_share_a_key_where_they_are_the_same_search() -> None:
    study = make_plan()
    search = invented_keys(study).search(Trial(Arm("de", ("ta8", "ta6")), 0, 0))
    assert (
        search.key
        == invented_keys(make_plan("student.recipe.lr=0.5")).search(Trial(Arm("de", ("ta8", "ta6")), 0, 0)).key
    )
    others = [
        invented_keys(study).search(Trial(Arm("de", ("ta8", "ta6")), 0, 1)),
        invented_keys(study).search(Trial(Arm("greedy", ("ta8", "ta6")), 0, 0)),
        invented_keys(study).search(Trial(Arm("de", ("ta8", "ta4")), 0, 0)),
        invented_keys(make_plan("weights.objective=log_loss")).search(Trial(Arm("de", ("ta8", "ta6")), 0, 0)),
    ]
    assert len({search.key, *(other.key for other in others)}) == 5


def test_seeds_do_not_depend_on_the_process() -> None:
    assert seed_of("student", 0, 0) == seed_of("student", 0, 0) != seed_of("student", 0, 1)
    assert 0 <= seed_of("x") < 2**31
