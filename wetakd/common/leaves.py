"""Nested blocks as one flat mapping, from dotted path to value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Every value of a tree of mappings by its dotted path. Lists count as values; an empty mapping has none.

    Example:
        >>> leaves({"recipe": {"epochs": 3, "milestones": [0.5]}, "options": {}, "seed": 1})
        {'recipe.epochs': 3, 'recipe.milestones': [0.5], 'seed': 1}
    """
    if not isinstance(tree, Mapping):
        return {path: tree}
    below = (leaves(child, f"{path}.{key}".strip(".")) for key, child in tree.items())
    return {leaf: value for part in below for leaf, value in part.items()}


def texts_in(value: Any) -> list[str]:
    """Every text in a leaf, which may be a list of values or of mappings."""
    if isinstance(value, list):
        return [text for part in value for text in texts_in(list(part.values()) if isinstance(part, dict) else part)]
    return [value] if isinstance(value, str) else []
