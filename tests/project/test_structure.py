"""The structure of the code: short files, one definition for each name, and tests where their modules are."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wetakd"
UNIT_TESTS = ROOT / "tests" / "unit"
FOLDERS = ("wetakd", "tests", "benchmarks", "jobs")
MAX_LINES = 400
PER_MODULE_NAMES = {"log", "__all__"}
"""Names that every module may define for itself."""


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def top_level_names(tree: ast.Module) -> Iterator[str]:
    """Classes, functions and constants."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign():
                yield from (
                    name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
                )
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def imported_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Module and name of every `from module import name`, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def imported_modules(tree: ast.Module) -> set[str]:
    """All modules of `import module` and `from module import name`, and every `module.name`, which may be one."""
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {part for module, name in imported_names(tree) for part in (module, f"{module}.{name}")}


def is_module(parent: str, name: str) -> bool:
    return (ROOT / parent.replace(".", "/") / f"{name}.py").exists()


def is_test_module(name: str) -> bool:
    return name.split(".")[0] == "tests" and name.rpartition(".")[2].startswith("test_")


def modules_of(test: Path) -> list[Path]:
    """Where the module of a unit test may be: `test_b_suffix.py` tests `b_suffix.py` or `b.py`, or a package `b`."""
    folder = PACKAGE / test.parent.relative_to(UNIT_TESTS)
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:end]) for end in range(len(words), 0, -1)]
    return [path for name in names for path in (folder / f"{name}.py", folder / name / "__init__.py")]


def test_no_file_is_longer_than_400_lines() -> None:
    num_lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules(*FOLDERS)}
    assert {shown(path): num for path, num in num_lines.items() if num > MAX_LINES} == {}


def test_a_unit_test_has_the_place_and_the_name_of_its_module() -> None:
    """If not, rename it, or move it to tests/project."""
    tests = UNIT_TESTS.rglob("test_*.py")
    assert [shown(test) for test in tests if not any(path.exists() for path in modules_of(test))] == []


def test_a_name_is_defined_in_one_module() -> None:
    defined_in = defaultdict(set)
    for path in modules("wetakd"):
        for name in top_level_names(tree_of(path)):
            defined_in[name].add(shown(path))
    several = {name: paths for name, paths in defined_in.items() if len(paths) > 1}
    assert {name: paths for name, paths in several.items() if name not in PER_MODULE_NAMES} == {}


def test_no_private_name_is_imported_from_another_module() -> None:
    private = {
        f"{shown(path)}: {module}.{name}"
        for path in modules("wetakd")
        for module, name in imported_names(tree_of(path))
        if module.startswith("wetakd") and name.startswith("_") and not is_module(module, name)
    }
    assert private == set()


def test_every_package_says_what_is_in_it() -> None:
    packages = [path for path in modules("wetakd") if path.name == "__init__.py"]
    assert [shown(path) for path in packages if not ast.get_docstring(tree_of(path))] == []


def test_nothing_is_imported_from_a_test_module() -> None:
    """What tests share is in modules of its own."""
    imports = {shown(path): imported_modules(tree_of(path)) for path in modules("tests")}
    from_tests = {path: [name for name in names if is_test_module(name)] for path, names in imports.items()}
    assert {path: names for path, names in from_tests.items() if names} == {}
