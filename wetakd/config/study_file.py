"""Reading a study file: YAML, environment and overrides in, a StudyConfig or one clear line out."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from wetakd.common.errors import UserError
from wetakd.common.redact import redact
from wetakd.config import StudyConfig
from wetakd.config.study_record import ENVIRONMENT, check_credentials
from wetakd.config.validation_messages import error_message, is_about_type
from wetakd.config.yaml_text import read_yaml as read_yaml

_MOST_VALUES = 100_000
_MOST_BITS = 1024
_UTF8 = re.compile("[^\0\ud800-\udfff]*")


def embedded_study() -> str:
    """The YAML text of the study that `wetakd run` runs when no file is named."""
    return files("wetakd").joinpath("digits.yaml").read_text(encoding="utf-8")


def load_study_file(path: str | Path | None, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study file (None: the embedded one), apply `a.b=c` overrides and check it.

    `WETAKD_STORAGE` and `MLFLOW_TRACKING_URI` in the environment stand above the file, and overrides above them.
    Raises UserError with one line that names the field, the value and what would be right.
    """
    tree = _parse(path)
    for field, variable in ENVIRONMENT.items():
        if os.environ.get(variable):
            _set_field(tree, field, os.environ[variable])
    for override in overrides:
        field, equals, text = override.partition("=")
        if not equals or not field:
            raise UserError(f"--set {redact(override)!r}: must read field=value, such as --set student.recipe.epochs=5")
        _set_field(tree, field, _yaml(text, f"--set {field}"))
    config = config_from_tree(tree)
    check_credentials(config)
    return config


def config_from_text(text: str, where: str) -> StudyConfig:
    """As `config_from_tree`, of YAML; `where` it stands is named if it is none."""
    return config_from_tree(_yaml(text, where))


def config_from_tree(tree: Any) -> StudyConfig:
    """Build a StudyConfig from plain data; raises UserError with one line for the first thing that is wrong."""
    try:
        return StudyConfig.model_validate(tree)
    except ValidationError as error:
        raise UserError(_first_error_message(error, tree)) from None


def _parse(path: str | Path | None) -> dict[str, Any]:
    try:
        text = embedded_study() if path is None else Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"study file {str(path)!r}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise UserError(f"study file {str(path)!r}: {reason}") from None
    tree = _yaml(text, f"study file {str(path)!r}")
    if not isinstance(tree, dict):
        raise UserError(f"study file {str(path)!r}: must be a YAML mapping with the blocks study, data, teacher, …")
    return tree


def _yaml(text: str, where: str) -> Any:
    try:
        tree = read_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise UserError(f"{where}: is not valid YAML{at}: {reason}") from None
    _check_yaml_values(tree, where)
    return tree


def _check_yaml_values(tree: Any, where: str) -> None:
    """What is valid YAML, but nothing that a study could mean."""
    waiting, num_values = [tree], 0
    while waiting:
        value = waiting.pop()
        num_values += 1
        # A few lines of aliases can stand for billions of values, or for themselves.
        if num_values > _MOST_VALUES:
            raise UserError(f"{where}: its aliases stand for more than {_MOST_VALUES:,} values; write fewer")
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise UserError(f"{where}: holds a whole number of {value.bit_length():,} bits; at most {_MOST_BITS}")
        if isinstance(value, str) and not _UTF8.fullmatch(value):
            raise UserError(f"{where}: holds {value[:40]!r}, which is not UTF-8 text or has a NUL in it")
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value


def _set_field(tree: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    node = tree
    for parent in parents:
        child = node.get(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"--set {field}: {parent!r} is not a block")
        # A YAML alias is the same object in several places; only this place is meant.
        node[parent] = dict(child)
        node = node[parent]
    node[last] = value


def _first_error_message(error: ValidationError, tree: Any) -> str:
    """The first error_message, as `field: must be ..., got ...`."""
    found = [(_field(each["loc"], tree, each["type"]), each) for each in error.errors(include_url=False)]
    # Where a field may be of several types, the one that the value is of has more to say.
    same = [(field, each) for field, each in found if f"{field}.".startswith(f"{found[0][0]}.")]
    field, first = next((pair for pair in same if not is_about_type(pair[1])), _deepest(same))
    if first["type"] == "extra_forbidden":
        return f"{field}: is not a known field; check its spelling and its block"
    if first["type"] == "missing":
        return f"{field}: is required"
    if first["type"].startswith("union_tag"):
        given = first["input"].get("source") if isinstance(first["input"], dict) else None
        return f"{field}.source: {given!r} must be digits, cifar10, cifar100, parquet, folder or callable"
    if first["type"] == "value_error":
        message = error_message([first])
        inner = "." if re.match(r"[\w.]+: ", message) else ": "
        return f"{field}{inner}{message}" if field else message
    others = [each for path, each in same if path == field and is_about_type(first) and is_about_type(each)]
    return f"{field or 'study file'}: {error_message(others or [first])}"


def _deepest(found: Sequence[tuple[str, ErrorDetails]]) -> tuple[str, ErrorDetails]:
    """The first of the errors of the innermost value: of an entry of a list rather than of the list."""
    return max(found, key=lambda pair: pair[0].count("."))


def _field(location: tuple[int | str, ...], tree: Any, kind: str) -> str:
    """The path of a error_message in the user's file: pydantic's also names the branches of unions that it tried."""
    path: list[str] = []
    node = tree
    for depth, part in enumerate(location):
        if depth == 1 and path == ["data"] and isinstance(node, dict) and part == node.get("source"):
            continue
        is_key = isinstance(node, dict) and part in node
        if is_key or (isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)):
            node = node[part]
            path.append(_printable(part))
    if kind == "missing":
        path.append(_printable(location[-1]))
    return ".".join(path)


def _printable(part: int | str) -> str:
    """A part of a field's path, with signs that would break a line escaped."""
    text = str(part)
    return text if text.isprintable() else ascii(text)
