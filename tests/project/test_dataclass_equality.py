"""Rules that every dataclass of the package follows."""

import importlib
import pkgutil
import re
from dataclasses import fields, is_dataclass

import wetakd

_WITHOUT_EQUALITY = re.compile(r"ndarray|NDArray|Tensor|DataFrame|Series|\bTable\b")


def dataclasses_of(package):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if found.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(found.name)).values():
            if isinstance(value, type) and is_dataclass(value) and value.__module__ == found.name:
                yield value


def test_none_compares_arrays_or_tables():
    """`==` of two arrays is an array, whose truth value is an error."""
    holding = [
        kind
        for kind in dataclasses_of(wetakd)
        if any(_WITHOUT_EQUALITY.search(str(field.type)) for field in fields(kind))
    ]
    names = {kind.__name__ for kind in holding}
    assert {"Dataset", "Splits", "Logits", "Pixels", "Results", "SearchResult", "TrainedNetwork"} <= names
    assert [kind.__qualname__ for kind in holding if kind.__dataclass_params__.eq] == []
