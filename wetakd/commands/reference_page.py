"""The reference of study file and commands, written from the code itself.

python -m wetakd.commands.reference_page > docs/reference.md
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from wetakd.commands.main import commands
from wetakd.config import StudyConfig
from wetakd.models import registry

Schema = Mapping[str, Any]

_HEAD = """# Reference

Written from the code by `python -m wetakd.commands.reference_page`; a test holds it against the code.

## The study file

A YAML file with the blocks below. A key that is not here is an error, and so is one that stands twice.
`--set FIELD=VALUE` overrides a field by its dotted path, such as `student.recipe.epochs=5`. Numbers have no unit unless
one is named; pixels are those after the transform. "–" as a default: nothing is set.
"""
_ENVIRONMENT = """## Environment

| variable | meaning |
|---|---|
| `WETAKD_STORAGE` | takes the place of `storage` |
| `MLFLOW_TRACKING_URI` | takes the place of `mlflow.tracking_uri` |
| `RAY_ADDRESS` | the Ray cluster to join; without it a study starts one on this machine |
| `RAY_API_SERVER_ADDRESS` | the dashboard that `wetakd submit`, `status` and `stop` talk to |
"""
# How blocks that have several names in the file are called.
_NAMED = {
    "StudyConfig": "The whole file",
    "NetworkConfig": "`teacher`, and each of `assistants`",
    "StudentConfig": "`student`",
    "ModelConfig": "`model` of any network",
    "RecipeConfig": "`recipe` of any network",
    "DistillationConfig": "`distillation` of a taught network",
    "PlacementConfig": "`placement` of any network",
    "StudyBlock": "`study`",
    "ContrastConfig": "`study.primary`",
    "Sweep": "`study.sweep.FIELD`",
    "HalvingConfig": "`study.halving`",
    "DigitsData": "`data` with `source: digits`",
    "CifarData": "`data` with `source: cifar10` or `cifar100`",
    "ParquetData": "`data` with `source: parquet`",
    "FolderData": "`data` with `source: folder`",
    "CallableData": "`data` with `source: callable`",
    "SplitsConfig": "`splits`",
    "TransformConfig": "`transform`",
    "ViewsConfig": "`views`",
    "WeightsConfig": "`weights`",
    "MlflowConfig": "`mlflow`",
    "LimitsConfig": "`limits`",
}


def reference() -> str:
    """The whole page, Markdown."""
    return "\n".join([_HEAD, *_schema_tables(), _models(), _ENVIRONMENT, *_commands()]).rstrip() + "\n"


def _schema_tables() -> Iterator[str]:
    schema = StudyConfig.model_json_schema()
    found = {"StudyConfig": schema} | schema["$defs"]
    for name, title in _NAMED.items():
        yield _schema_table(title, found.pop(name))
    assert not found, f"blocks without a title: {sorted(found)}"


def _schema_table(title: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = "\n".join(
        f"| `{name}` | {_cell(_type(field))} | {'required' if name in required else _default(field)} "
        f"| {_cell(field.get('description') or _about(field))} |"
        for name, field in schema["properties"].items()
    )
    words = inspect.cleandoc(schema.get("description", ""))
    return f"### {title}\n\n{words}\n\n| field | type | default | meaning |\n|---|---|---|---|\n{rows}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _default(field: Schema) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    if value is None:
        return "–"
    # A block's defaults stand in its own table.
    return "its defaults" if isinstance(value, dict) and value else f"`{json.dumps(value)}`"


def _type(schema: Schema) -> str:
    """What a field may be, in words."""
    if "$ref" in schema:
        return _block_named(schema["$ref"])
    if "oneOf" in schema or "anyOf" in schema:
        kinds = [_type(kind) for kind in schema.get("oneOf") or schema["anyOf"] if kind.get("type") != "null"]
        return " or ".join(
            dict.fromkeys(kind if i == 0 else kind.removeprefix("block: ") for i, kind in enumerate(kinds))
        )
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return _array(schema)
    if schema.get("type") == "object":
        values = schema.get("additionalProperties", True)
        if "patternProperties" in schema:
            (values,) = schema["patternProperties"].values()
        return "block" if isinstance(values, bool) else f"block, by name, of {_type(values).removeprefix('block: ')}"
    kind = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}
    return kind.get(schema.get("type", ""), "any value") + _range(schema)


def _about(field: Schema) -> str:
    """The first sentence of the block that a field holds."""
    inside = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), field)
    kinds = [inside, *inside.get("anyOf", ())] if isinstance(inside, dict) else []
    names = [kind["$ref"].rpartition("/")[2] for kind in kinds if "$ref" in kind]
    return inspect.cleandoc(StudyConfig.model_json_schema()["$defs"][names[0]]["description"]) if names else ""


def _block_named(reference: str) -> str:
    """`the block X` in the words of its heading."""
    return f"block: {_NAMED[reference.rpartition('/')[2]].replace('`data` with ', '')}"


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        return "[" + ", ".join(_type(item) for item in schema["prefixItems"]) + "]"
    return f"list of {_type(schema.get('items', {}))}"


def _range(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    words = [
        f"from {low:,}" if low is not None else f"above {above:,}" if above is not None else "",
        f"to {high:,}" if high is not None else f"below {below:,}" if below is not None else "",
    ]
    return "".join(f" {word}" for word in words if word)


def _models() -> str:
    """The table of networks, from the module that builds them."""
    words = inspect.cleandoc(registry.__doc__ or "").partition("\n\n")[2]
    return f"## Networks\n\n{words}\n"


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    with commands.make_context("wetakd", [], resilient_parsing=True, terminal_width=100) as whole:
        yield _page("wetakd", commands, whole)
        for name, command in sorted(commands.commands.items()):
            yield _page(f"wetakd {name}", command, command.make_context(name, [], whole, resilient_parsing=True))


def _page(title: str, command: click.Command, context: click.Context) -> str:
    return f"### `{title}`\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
