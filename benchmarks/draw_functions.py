"""Draws functions and classes of wetakd at random, to measure whether file names say what is inside (CONTRIBUTING.md).

    python benchmarks/draw_functions.py --seed 7

prints the module and the source of each, drawn without replacement from all functions and classes at the top level of a
module that have at least four lines. The same seed draws the same ones from the same commit.
"""

from __future__ import annotations

import argparse
import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MIN_LINES = 4


@dataclass(frozen=True)
class Definition:
    """A function or class: its module, as a path below the repository, and its source with decorators."""

    module: str
    name: str
    source: str


def definitions(root: Path = ROOT) -> Iterator[Definition]:
    """All that may be drawn, in the order of paths and lines."""
    for path in sorted((root / "wetakd").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                last = node.end_lineno or node.lineno
                if last - first + 1 >= MIN_LINES:
                    module = path.relative_to(root).as_posix()
                    yield Definition(module, node.name, "\n".join(lines[first - 1 : last]))


def draw(num: int, seed: int, root: Path = ROOT) -> list[Definition]:
    """`num` different definitions; raises ValueError where there are fewer."""
    return random.Random(seed).sample(list(definitions(root)), num)


def main() -> None:
    """Print what was drawn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--num", type=int, default=60)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    for number, definition in enumerate(draw(options.num, options.seed), start=1):
        print(f"=== {number}. {definition.module}: {definition.name}\n\n{definition.source}\n")


if __name__ == "__main__":
    main()
