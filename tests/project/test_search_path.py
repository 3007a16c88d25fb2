"""Modules in the working directory: found as functions of a study, never executed in place of an installed module."""

import sys
from pathlib import Path

import pytest
import yaml

from tests.bad_input.study_files import BASE
from tests.bad_input.wrong_input import call
from tests.planted_modules import call_in, plant


def _study(folder: Path) -> None:
    student = {"model": {"name": "my_networks:make"}}
    (folder / "study.yaml").write_text(yaml.safe_dump({**BASE, "student": student}))


@pytest.mark.parametrize("as_module", [False, True], ids=["console script", "python -m"])
@pytest.mark.parametrize("words", [("ls",), ("--version",), ("validate", "study.yaml")], ids=lambda words: words[0])
def test_no_module_of_the_working_directory_replaces_an_installed_one(
    words: tuple[str, ...], as_module: bool, tmp_path: Path
) -> None:
    marker = plant(tmp_path)
    _study(tmp_path)
    done = call_in(tmp_path, *words, as_module=as_module)
    assert not marker.exists(), marker.read_text()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("as_module", [False, True], ids=["console script", "python -m"])
def test_functions_of_the_working_directory_are_found_after_installed_modules(as_module: bool, tmp_path: Path) -> None:
    marker = plant(tmp_path)
    _study(tmp_path)
    done = call_in(tmp_path, "plan", "study.yaml", as_module=as_module)
    assert not marker.exists(), marker.read_text()
    assert done.returncode == 0, done.stderr
    assert "student" in done.stdout


@pytest.mark.parametrize(
    ("words", "is_searched"),
    [
        (("validate", "study.yaml"), True),
        (("plan", "absent.yaml"), True),
        (("run", "absent.yaml"), True),
        (("init", "absent"), True),
        (("export", "none", "--trust-code"), True),
        (("export", "none"), False),
        (("report", "none"), False),
        (("ls",), False),
        (("gc",), False),
        (("sync", "none"), False),
        (("ui", "none"), False),
        (("weights", "none.npy", "none.npy"), False),
        (("completion", "bash"), False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_only_commands_that_run_functions_search_the_working_directory(
    words: tuple[str, ...], is_searched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    monkeypatch.chdir(tmp_path)
    _study(tmp_path)
    call(*words)
    assert (str(tmp_path) in sys.path, sys.path[-1] == str(tmp_path)) == (is_searched, is_searched)
