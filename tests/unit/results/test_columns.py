"""Every column has one name, which modules take from `results.columns`: a misspelled constant is an error of mypy."""

from __future__ import annotations

import re
from pathlib import Path

import wetakd
from wetakd.results import columns

SCHEMAS = (columns.TRIALS_SCHEMA, columns.NETWORKS_SCHEMA, columns.CURVES_SCHEMA, columns.CONTRIBUTIONS_SCHEMA)
NAMES = sorted({name for schema in SCHEMAS for name in schema.names})


def test_each_constant_is_the_name_of_its_column() -> None:
    assert {name: getattr(columns, name.upper()) for name in NAMES} == {name: name for name in NAMES}


def test_no_module_selects_a_column_by_quoted_text() -> None:
    quoted = re.compile(rf"""\b(row|rows|trials|networks|curves|table|frame)\[+["']({"|".join(NAMES)})["']""")
    package = Path(wetakd.__file__).parent
    found = [
        f"{path.relative_to(package)}: {match.group()}"
        for path in sorted(package.rglob("*.py"))
        for match in quoted.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []
