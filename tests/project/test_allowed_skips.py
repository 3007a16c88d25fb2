"""A skip that is not on the list fails the run; one that is on it does not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BODY = """
import pytest
{module}

def test_known():
    pytest.skip("no images here")

@pytest.mark.skipif(True, reason="no root")
def test_marked():
    pass

@pytest.mark.xfail(reason="known")
def test_expected_failure():
    assert False
"""


def run(folder: Path, allowed: str, module: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "tests").mkdir()
    shutil.copy(TESTS / "conftest.py", folder / "tests")
    (folder / "tests" / "allowed_skips.txt").write_text(allowed)
    (folder / "tests" / "test_it.py").write_text(BODY.format(module=module))
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '-ra'\n")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_skips_on_the_list_pass_and_are_printed(tmp_path: Path) -> None:
    lines = ["# why", "tests/test_it.py::test_known -- no images here", "tests/test_it.py::test_marked -- no root"]
    done = run(tmp_path, "\n".join(lines))
    assert done.returncode == 0, done.stdout
    assert "no images here" in done.stdout
    assert "2 skipped, 1 xfailed" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "allowed",
    ["", "tests/test_it.py::test_known -- another reason", "tests/test_it.py::test_other -- no images here"],
    ids=["empty list", "another reason", "another test"],
)
def test_a_skip_that_is_not_on_the_list_fails(allowed: str, tmp_path: Path) -> None:
    done = run(tmp_path, f"tests/test_it.py::test_marked -- no root\n{allowed}\n")
    assert done.returncode == 1, done.stdout
    assert "tests/test_it.py::test_known -- no images here" in done.stdout
    assert "1 failed, 1 skipped, 1 xfailed" in done.stdout.splitlines()[-1]


def test_a_whole_module_that_skips_fails(tmp_path: Path) -> None:
    done = run(tmp_path, "", module="pytest.importorskip('not_installed_anywhere')")
    assert done.returncode != 0
    assert "tests/test_it.py -- could not import 'not_installed_anywhere'" in done.stdout


def test_every_line_of_our_list_names_a_file_that_is_there() -> None:
    for line in (TESTS / "allowed_skips.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            nodeid, mark, reason = line.partition(" -- ")
            assert mark
            assert reason
            assert (TESTS.parent / nodeid.partition("::")[0]).is_file(), nodeid
