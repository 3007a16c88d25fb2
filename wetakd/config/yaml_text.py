"""YAML as study files use it: the core schema of YAML 1.2, for files, `--set` and recorded studies alike.

PyYAML has the words of YAML 1.1, in which `1e-3` is text, `010` is 8, `1:30` is 90 and `no` is false. Here:

- numbers: `10`, `010` (ten), `1_000`, `0x1F`, `0o17`, `1e-3`, `1E5`, `.5`, `.inf`, `.nan`
- `true` and `false`, `null`, `~` and nothing at all (also as `True`, `TRUE`, `Null`, ...)
- text: everything else, such as `on`, `off`, `yes`, `no`, `1:30` and `2024-01-01`
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_YAML_TAG = "tag:yaml.org,2002:"
_DIGITS = "[0-9]+(?:_[0-9]+)*"
_WORDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("bool", r"true|True|TRUE|false|False|FALSE", tuple("tTfF")),
    ("int", rf"[-+]?{_DIGITS}|0o[0-7]+|0x[0-9a-fA-F]+", tuple("-+0123456789")),
    (
        "float",
        rf"[-+]?(?:\.{_DIGITS}|{_DIGITS}(?:\.(?:{_DIGITS})?)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        tuple("-+.0123456789"),
    ),
    ("merge", "<<", ("<",)),
)


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice: the second would silently replace the first."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 (PyYAML's own name)
    yaml_constructors = {  # noqa: RUF012 (PyYAML's own name)
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag != f"{_YAML_TAG}timestamp"  # of text that is not a date PyYAML raises AttributeError
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # As it is written: later on, `<<` adds keys that may be there already, and so may stand there twice.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{_YAML_TAG}merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} stands there twice", key.start_mark
                    )
                seen.add(key.value)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Each key once, its last value: a few lines that merge each other's copies would stand for billions of keys.
        super().flatten_mapping(node)
        node.value = list({_identity(key): (key, value) for key, value in node.value}.values())

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> bool:
        text = str(self.construct_scalar(node)).lower()
        if text not in ("true", "false"):
            raise yaml.constructor.ConstructorError(None, None, f"{text!r} is not true or false", node.start_mark)
        return text == "true"

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = str(self.construct_scalar(node)).replace("_", "")
        return int(text, 16 if text.startswith("0x") else 8) if text.startswith(("0x", "0o")) else int(text)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        text = str(self.construct_scalar(node)).replace("_", "").lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or YAML 1.2 would take for something else, so any reader gets it back as text."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {  # noqa: RUF012 (PyYAML's own name)
        first: list(resolvers) for first, resolvers in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }


for _name, _pattern, _first in _WORDS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_YAML_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Loader.add_constructor(f"{_YAML_TAG}bool", _Loader.construct_yaml_bool)
_Loader.add_constructor(f"{_YAML_TAG}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{_YAML_TAG}float", _Loader.construct_yaml_float)


def read_yaml(text: str) -> Any:
    """The plain data that `text` stands for; raises YAMLError, ValueError or RecursionError."""
    return yaml.load(text, _Loader)


def write_yaml(tree: Any, *, flow_style: bool | None = False) -> str:
    """`tree` as text that `read_yaml` gives back; `flow_style` None: the innermost blocks on one line."""
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=100, default_flow_style=flow_style)
    return text


def _identity(key: yaml.Node) -> Any:
    return (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key
