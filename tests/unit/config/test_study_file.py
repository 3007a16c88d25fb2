"""The study file: what it accepts, and the one line that it answers to everything else."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import (
    config_from_tree,
    embedded_study,
    load_study_file,
)
from wetakd.config.study_record import recorded_tree


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WETAKD_STORAGE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def tree(**changes: Any) -> dict[str, Any]:
    """The embedded study as plain data, with dotted fields set."""
    data = yaml.safe_load(embedded_study())
    for field, value in changes.items():
        *parents, last = field.split("__")
        node = data
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return data


def test_the_embedded_study_compares_every_subset_of_three_assistants_with_all_strategies() -> None:
    config = load_study_file(None)
    assert config.pool == ("ta8", "ta6", "ta4")
    assert len(config.subsets) == 7
    assert config.study.seeds == (0, 1, 2)
    assert config.teachers_of("ta6") == ("teacher",)
    assert config.teachers_of("teacher") == ()


def test_models_are_frozen() -> None:
    config = load_study_file(None)
    with pytest.raises(Exception, match="frozen"):
        config.study.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "field", "hint"),
    [
        ({"study__sedes": 3}, "study.sedes", "not a known field"),
        ({"nonsense": 1}, "nonsense", "not a known field"),
        ({"study__seeds": 0}, "study.seeds", "at least 1"),
        ({"study__seeds": "three"}, "study.seeds", "list"),
        ({"study__name": "../escape"}, "study.name", "match"),
        ({"study__name": None}, "study.name", "must be text"),
        ({"study__strategies": ["de", "magic"]}, "study.strategies.1", "'uniform'"),
        ({"study__strategies": ["de", "de"]}, "study.strategies", "twice"),
        ({"study__subsets": [4]}, "study.subsets", "the pool has 3"),
        ({"study__subsets": [["ta8", "ta9"]]}, "study.subsets", "'ta9'"),
        ({"study__pool": ["ta5"]}, "study.pool", "'ta5'"),
        ({"study__sweep": {"teacher.recipe.lr": {"grid": [1]}}}, "study.sweep.teacher.recipe.lr", "student.recipe"),
        ({"study__sweep": {"student.recipe.lr": {}}}, "study.sweep.student.recipe.lr", "one of grid"),
        ({"study__halving": {"min_epochs": 2}}, "study.halving", "study.sweep"),
        ({"splits__weigh": 1.5}, "splits.weigh", "less than 1"),
        ({"splits__weigh": float("nan")}, "splits.weigh", ""),
        ({"data__source": "mnist"}, "data.source", "'mnist' must be digits"),
        ({"teacher__taught_by": ["ta8"]}, "taught_by", "circle"),
        ({"assistants__ta8__taught_by": ["nobody"]}, "assistants.ta8.taught_by", "'nobody'"),
        ({"assistants__teacher": {"model": {"name": "plain"}}}, "assistants.teacher", "taken"),
        ({"assistants": {}}, "assistants", "at least 1"),
        ({"teacher__recipe__lr": -1}, "teacher.recipe.lr", "greater than 0"),
        ({"teacher__recipe__epochs": 10**9}, "teacher.recipe.epochs", "must be at most 100000, got 1000000000"),
        ({"teacher__recipe__warmup_epochs": 99.0}, "teacher.recipe.warmup_epochs", "less than epochs"),
        ({"teacher__workers": [3, 2]}, "teacher.workers", "min"),
        ({"student__distillation__alpha": 5.0}, "student.distillation.ce_weight", "must be given"),
        ({"student__distillation__temperature": 0}, "student.distillation.temperature", "greater than 0"),
        ({"student__placement": {"cpus": 0}}, "student.placement.cpus", "asks for nothing"),
        ({"mlflow": {"register_as": "a/b"}}, "mlflow.register_as", "pattern"),
        ({"storage": 5}, "storage", "must be text"),
    ],
)
def test_a_wrong_field_gets_one_line_that_names_it(changes: dict[str, Any], field: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        config_from_tree(tree(**changes))
    message = str(caught.value)
    assert message.startswith(field), message
    assert hint in message
    assert "\n" not in message


@pytest.mark.parametrize("missing", ["study", "data", "teacher", "assistants", "student"])
def test_a_missing_block_is_named(missing: str) -> None:
    data = tree()
    del data[missing]
    with pytest.raises(UserError, match=f"^{missing}: is required"):
        config_from_tree(data)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00", "? : :", "just text", "&a [*a]"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"study file .*study\.yaml"):
        load_study_file(file)


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no such file"):
        load_study_file("nowhere.yaml")


def test_overrides_stand_above_the_environment_and_that_above_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WETAKD_STORAGE", "/from/environment")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    config = load_study_file(None, ["student.recipe.epochs=3", "study.seeds=[4, 5]"])
    assert (config.storage, config.mlflow.tracking_uri) == ("/from/environment", "http://127.0.0.1:1")
    assert (config.student.recipe.epochs, config.study.seeds) == (3, (4, 5))
    assert load_study_file(None, ["storage=/from/override"]).storage == "/from/override"


@pytest.mark.parametrize("override", ["student.recipe.epochs", "=3", "student.recipe.epochs=[", "data.source.deeper=1"])
def test_a_malformed_override_is_refused(override: str) -> None:
    with pytest.raises(UserError, match="--set"):
        load_study_file(None, [override])


def test_only_what_changes_the_question_is_a_difference() -> None:
    before = recorded_tree(load_study_file(None))
    same = load_study_file(
        None, ["storage=elsewhere", "teacher.placement.cpus=2", "study.max_concurrent=1", "limits.retries=9"]
    )
    assert same.differences(before) == []
    assert same.question == load_study_file(None).question
    option = load_study_file(None, ["student.model.options.placement=3"])  # not the block of that name
    assert option.differences(before) == ["student.model.options.placement"]
    other = load_study_file(None, ["student.recipe.epochs=3"])
    assert other.differences(before) == ["student.recipe.epochs"]
    assert other.question != same.question


def test_a_whole_number_and_a_fraction_are_different_questions_where_keys_tell_them_apart() -> None:
    whole, fraction = (
        load_study_file(None, [f"study.sweep={{student.distillation.temperature: {{grid: {grid}}}}}"])
        for grid in ("[2, 4]", "[2.0, 4.0]")
    )
    assert len(fraction.differences(recorded_tree(whole))) == 1
    assert whole.question != fraction.question


def test_subsets_by_count_and_by_name_always_include_the_whole_pool() -> None:
    assert config_from_tree(tree(study__subsets=[1])).subsets == [("ta8",), ("ta6",), ("ta4",), ("ta8", "ta6", "ta4")]
    # Names may come in any order; the pool's order is what counts.
    assert config_from_tree(tree(study__subsets=[["ta4", "ta8"]])).subsets == [("ta8", "ta4"), ("ta8", "ta6", "ta4")]


def test_the_teacher_joins_the_pool_on_request() -> None:
    assert config_from_tree(tree(study__pool_includes_teacher=True)).pool == ("teacher", "ta8", "ta6", "ta4")


def test_every_teacher_is_trained_before_its_pupils() -> None:
    config = config_from_tree(tree(assistants__ta8__taught_by=["ta4", "teacher"], assistants__ta4__taught_by=["ta6"]))
    order = config.training_order()
    for name in order:
        assert all(order.index(teacher) < order.index(name) for teacher in config.teachers_of(name))


def _models(model: Any, seen: set[Any]) -> None:
    seen.add(model)
    for field in model.model_fields.values():
        for part in _parts(field.annotation):
            if isinstance(part, type) and hasattr(part, "model_fields") and part not in seen:
                _models(part, seen)


def _parts(annotation: Any) -> list[Any]:
    inner = getattr(annotation, "__args__", ())
    return [annotation, *itertools.chain.from_iterable(_parts(part) for part in inner)]


def test_every_field_is_consumed_somewhere() -> None:
    """A flag that is parsed and never used is a lie."""
    seen: set[Any] = set()
    _models(StudyConfig, seen)
    package = Path(load_study_file.__code__.co_filename).parents[1]
    code = "\n".join(file.read_text() for file in package.rglob("*.py") if file.parent.name != "config")
    code += "".join(
        (package / "config" / f"{name}.py").read_text() for name in ("study_config", "network_config", "sweep")
    )
    unused = sorted(
        f"{model.__name__}.{name}" for model in seen for name in model.model_fields if f".{name}" not in code
    )
    assert unused == []


def test_a_field_whose_name_would_break_the_line_is_escaped() -> None:
    with pytest.raises(UserError) as caught:
        config_from_tree(tree(splits={"\x1e": None}))
    assert str(caught.value).splitlines() == ["splits.'\\x1e': is not a known field; check its spelling and its block"]
