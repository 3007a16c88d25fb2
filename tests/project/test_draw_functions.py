"""The random draw of functions and classes: the same for a seed, without repetition, and long enough to describe."""

import ast
import subprocess
import sys
from pathlib import Path

from benchmarks import draw_functions
from benchmarks.draw_functions import ROOT, definitions, draw


def test_a_seed_draws_the_same_and_another_seed_others() -> None:
    assert draw(60, seed=1) == draw(60, seed=1)
    assert draw(60, seed=1) != draw(60, seed=2)
    assert len(set(draw(60, seed=1))) == 60


def test_every_definition_is_a_whole_function_or_class_of_its_module() -> None:
    for found in definitions():
        (node,) = ast.parse(found.source).body
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        assert node.name == found.name
        assert found.source in (ROOT / found.module).read_text(encoding="utf-8")


def test_decorators_count_and_short_functions_are_left_out(tmp_path: Path) -> None:
    module = tmp_path / "wetakd" / "made.py"
    module.parent.mkdir()
    decorated = "@first\n@second(\n    3)\ndef long():\n    pass"
    module.write_text(
        f"{decorated}\n\n\ndef short():\n    x = 1\n    return x\n\n\nclass Kept:\n    a = 1\n    b = 2\n    c = 3\n"
    )
    found = list(definitions(tmp_path))
    assert [(one.module, one.name) for one in found] == [("wetakd/made.py", "long"), ("wetakd/made.py", "Kept")]
    assert found[0].source == decorated


def test_the_command_prints_modules_and_sources() -> None:
    command = [sys.executable, draw_functions.__file__, "--seed", "3", "--num", "2"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for number, one in enumerate(draw(2, seed=3), start=1):
        assert f"=== {number}. {one.module}: {one.name}\n\n{one.source}\n" in printed
