"""YAML as study files use it: which plain words are numbers, and which are text."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import (
    config_from_text,
    config_from_tree,
    embedded_study,
    load_study_file,
)
from wetakd.config.study_record import dump_record, load_record, recorded_tree
from wetakd.config.yaml_text import read_yaml, write_yaml

NUMBERS: dict[str, float] = {
    "1e-3": 1e-3,
    "1E5": 1e5,
    "1e5": 1e5,
    "+1.5e+2": 150.0,
    "5.": 5.0,
    ".5": 0.5,
    "-0.5": -0.5,
    "1_000": 1000,
    "1_000.5": 1000.5,
    "010": 10,
    "-7": -7,
    "0x1F": 31,
    "0o17": 15,
    ".inf": math.inf,
    "-.inf": -math.inf,
}
TEXTS = (
    "on", "off", "yes", "no", "On", "NO", "y", "n", "1:30", "190:20:30.15", "2024-01-01", "2024-01-01 10:00:00",
    "0b1010", "_1", "1_", "1__0", "1e", "e5", "1.2.3", "=", "0x", "1e5x", "+", "-", ".", "tRUE",
)  # fmt: skip
OTHERS = {"true": True, "False": False, "TRUE": True, "null": None, "~": None, "": None, "Null": None}


def _places(tmp_path: Path, word: str) -> list[Any]:
    """What `word` is, wherever a study file or an override may have it."""
    text = embedded_study()
    file = tmp_path / "study.yaml"
    file.write_text(text.replace("options: {depth: 8}", f"options: {{a: {word}, b: [{word}]}}"))
    from_file = load_study_file(file).assistants["ta8"].model.options
    override = load_study_file(None, [f"student.model.options={{a: [{word}]}}", f"teacher.model.options.b={word}"])
    return [
        from_file["a"],
        from_file["b"][0],
        override.student.model.options["a"][0],
        override.teacher.model.options["b"],
        read_yaml(word),
        read_yaml(f"- {word}")[0],
        read_yaml(f"a: {word}")["a"],
    ]


@pytest.mark.parametrize("word", [word for word in NUMBERS if "inf" not in word])
def test_a_number_is_a_number_everywhere(word: str, tmp_path: Path) -> None:
    for found in _places(tmp_path, word):
        assert found == NUMBERS[word]
        assert type(found) is type(NUMBERS[word])


@pytest.mark.parametrize("word", [word for word in TEXTS if word != "-"])
def test_every_other_word_is_text(word: str, tmp_path: Path) -> None:
    assert _places(tmp_path, word) == [word] * 7


@pytest.mark.parametrize("word", [word for word in OTHERS if word])
def test_true_false_and_null_are_what_they_are(word: str, tmp_path: Path) -> None:
    assert all(found is OTHERS[word] for found in _places(tmp_path, word))


def test_infinity_is_read_and_then_refused() -> None:
    assert (read_yaml(".inf"), read_yaml("-.INF")) == (math.inf, -math.inf)
    assert math.isnan(read_yaml(".nan"))
    with pytest.raises(UserError, match=r"student\.model\.options\.a: must be a finite number, got inf"):
        load_study_file(None, ["student.model.options={a: .inf}"])


def test_a_swept_grid_has_numbers_where_it_has_numbers() -> None:
    config = load_study_file(None, ["study.sweep={student.recipe.lr: {grid: [1e-3, 1E-2, 1_0]}}"])
    assert config.study.sweep["student.recipe.lr"].grid == (0.001, 0.01, 10)


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "1", "0"])
@pytest.mark.parametrize("field", ["student.recipe.nesterov", "views.flip", "mlflow.enabled"])
def test_a_switch_is_true_or_false_alone(field: str, word: str) -> None:
    shown = word if word.isdigit() else repr(word)
    with pytest.raises(UserError, match=f"^{field}: must be true or false, got {shown}$"):
        load_study_file(None, [f"{field}={word}"])


def test_names_that_yaml_1_1_would_take_for_something_else_are_names() -> None:
    assistants = "{no: {model: {name: plain}}, on: {model: {name: plain}}, 2024-01-01: {model: {name: plain}}}"
    config = load_study_file(None, [f"assistants={assistants}", "study.name=off"])
    assert list(config.assistants) == ["no", "on", "2024-01-01"]
    again = config_from_tree(load_record(dump_record(config)))
    assert again == config
    assert again.question == config.question
    assert config.differences(recorded_tree(config)) == []


@pytest.mark.parametrize("text", ["!!bool on", "!!bool maybe", "!!int x", "!!float x", "!!timestamp x"])
def test_other_kinds_of_data_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="is not valid YAML"):
        config_from_text(f"study: {{name: {text}}}", "study file")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=9)
    | st.sampled_from([*NUMBERS, *TEXTS, *OTHERS, "<<"])
    | st.dates().map(datetime.date.isoformat),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NUMBERS, *TEXTS]), inner, max_size=3),
    max_leaves=8,
)


@settings(derandomize=True, database=None, max_examples=400, deadline=None)
@given(tree=plain)
def test_what_is_written_is_read_again_and_by_other_readers_too(tree: Any) -> None:
    for reader in (read_yaml, yaml.safe_load):
        assert repr(reader(write_yaml(tree))) == repr(tree)


def test_a_recorded_study_keeps_its_numbers_and_its_text() -> None:
    config = load_study_file(None, ["student.model.options={a: 1e-3, b: '1e-3', c: '010', d: 'no', e: '1_000'}"])
    again: StudyConfig = config_from_tree(load_record(dump_record(config)))
    options = again.student.model.options
    assert options == {"a": 0.001, "b": "1e-3", "c": "010", "d": "no", "e": "1_000"}
