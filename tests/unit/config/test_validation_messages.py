"""The one line for a wrong value: its field, what it must be, and what it is."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import annotated_types
import pytest
import yaml
from pydantic import BaseModel

from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import config_from_tree, embedded_study

# What a block needs beside the field that is tested, where the embedded study does not have the block.
_REQUIRED: dict[str, dict[str, Any]] = {
    "data.cifar10": {"source": "cifar10"},
    "data.parquet": {"source": "parquet", "train": "a.parquet"},
    "data.folder": {"source": "folder", "train": "a"},
    "data.callable": {"source": "callable", "callable": "a:b"},
    "study.halving": {"min_epochs": 1},
    "study.sweep.student.recipe.lr": {},
}
_MAPPINGS = {
    "assistants": "ta8",
    "study.sweep": "student.recipe.lr",
    "resources": "tpu",
}


@dataclass(frozen=True)
class NumberField:
    """A number of the study file: its path, and the bounds that its type has."""

    path: tuple[str | int, ...]
    """Numbers are places in a list."""
    length: int
    """Entries of the list that it is in; 0 where it is in none."""
    is_whole: bool
    bounds: tuple[Any, ...]
    source: str | None

    def __str__(self) -> str:
        return f"{self.name} ({self.source})" if self.source else self.name

    @property
    def name(self) -> str:
        """As messages write it."""
        return ".".join(map(str, self.path))

    def wrong(self) -> Iterator[tuple[Any, str]]:
        """Values that it cannot have, each with what the message must say of it."""
        for bound in self.bounds:
            for kind, words, value in (
                (annotated_types.Gt, "greater than", lambda limit: limit),
                (annotated_types.Ge, "at least", lambda limit: limit - 1),
                (annotated_types.Lt, "less than", lambda limit: limit),
                (annotated_types.Le, "at most", lambda limit: limit + 1),
            ):
                if isinstance(bound, kind):
                    (limit,) = vars(bound).values() if hasattr(bound, "__dict__") else (_limit(bound),)
                    yield value(limit), f"must be {words} {limit}, got {value(limit)}"
        if self.is_whole:
            yield 1.5, "a whole number"
        yield float("nan"), "must be a finite number, got nan"
        yield float("inf"), "got inf"
        yield "many", "number"
        yield {"a": 1}, "number"


def _limit(bound: Any) -> Any:
    return next(getattr(bound, name) for name in ("gt", "ge", "lt", "le") if hasattr(bound, name))


def _numbers(model: type[BaseModel], path: tuple[str | int, ...], source: str | None = None) -> Iterator[NumberField]:
    for name, field in model.model_fields.items():
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        yield from _of_type(annotation, (*path, name), source)


def _of_type(
    annotation: Any, path: tuple[str | int, ...], source: str | None, length: int = 0
) -> Iterator[NumberField]:
    origin, arguments, bounds = get_origin(annotation), get_args(annotation), ()
    if origin is Annotated:
        annotation, *metadata = arguments
        bounds = tuple(
            part for each in metadata for part in ([each] if not hasattr(each, "metadata") else each.metadata)
        )
        origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in (int, float):
        yield NumberField(path, length, annotation is int, bounds, source)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        sources = get_args(annotation.model_fields["source"].annotation) if path == ("data",) else (source,)
        yield from _numbers(annotation, path, sources[0])
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from _of_type(argument, path, source, length)
    elif origin is tuple:
        num = len(arguments) if Ellipsis not in arguments else 1
        yield from _of_type(arguments[0], (*path, 0), source, num)
    elif origin in (Mapping, dict) and arguments[1] is not Any:
        key = _MAPPINGS.get(".".join(map(str, path)), _MAPPINGS.get(str(path[-1]), "x"))
        yield from _of_type(arguments[1], (*path, key), source)


def _embedded() -> dict[str, Any]:
    """The embedded study, no block of which is the same object as another."""
    tree: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(embedded_study())))
    return tree


def _tree(field: NumberField, value: Any) -> dict[str, Any]:
    """The embedded study with one number changed."""
    tree = _embedded()
    if field.source not in (None, "digits"):
        tree["data"] = dict(_REQUIRED[f"data.{field.source}"])
    *parents, last = field.path if not isinstance(field.path[-1], int) else field.path[:-1]
    node: Any = tree
    for depth, parent in enumerate(parents, 1):
        default = _REQUIRED.get(".".join(map(str, field.path[:depth])), {})
        node = node.setdefault(parent, dict(default))
    node[last] = [value, *[7.0] * (field.length - 1)] if field.length else value
    return tree


FIELDS = list(dict.fromkeys(_numbers(StudyConfig, ())))


def test_the_numbers_of_every_block_are_tested() -> None:
    names = {field.name for field in FIELDS}
    assert len(names) > 80
    assert {
        "study.seeds.0",
        "study.replicates",
        "study.halving.factor",
        "study.sweep.student.recipe.lr.loguniform.0",
        "data.max_test_images",
        "transform.size",
        "assistants.ta8.workers.0",
        "student.placement.resources.tpu",
        "limits.silent_s",
    } <= names


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_a_number_that_is_wrong_gets_its_field_what_it_must_be_and_what_it_is(field: NumberField) -> None:
    for value, says in field.wrong():
        with pytest.raises(UserError) as caught:
            config_from_tree(_tree(field, value))
        name, _, message = str(caught.value).partition(": ")
        assert name == field.name
        assert message.startswith("must be "), message
        assert ", got " in message
        assert says in message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("study.seeds", 0, "must be at least 1, got 0"),
        ("study.seeds", -3, "must be at least 1, got -3"),
        ("study.seeds", 10**12, "must be at most 10000, got 1000000000000"),
        ("study.seeds", "three", "must be a whole number or a list of them, got 'three'"),
        ("study.seeds", [], "must have at least 1 entry, got 0"),
        ("study.subsets", "some", "must be 'all' or a list, got 'some'"),
        ("transform.size", "large", "must be a list or a whole number, got 'large'"),
        ("teacher.workers", "two", "must be a whole number or a list, got 'two'"),
        ("student.recipe.optimizer", "adam", "must be 'sgd' or 'adamw', got 'adam'"),
        ("student.recipe.nesterov", "maybe", "must be true or false, got 'maybe'"),
        ("student.recipe.lr", None, "must be a number, got null"),
        ("student.recipe", 3, "must be a block of fields, got 3"),
        ("storage", True, "must be text, got true"),
        ("storage", "", "must be text that is not empty, got ''"),
        ("student.recipe.warmup_epochs", 99, "must be less than epochs (8), got 99"),
    ],
)
def test_a_value_of_another_kind_is_told_what_it_must_be(field: str, value: Any, message: str) -> None:
    tree = _embedded()
    *parents, last = field.split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
    node[last] = value
    with pytest.raises(UserError) as caught:
        config_from_tree(tree)
    assert str(caught.value) == f"{field}: {message}"
