"""What people install: the wheel, the pinned versions, and the two commands of the README."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch
import torchvision
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import wetakd

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy: setuptools would leave its build folder beside the sources."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "wetakd", source / "wetakd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "unit" / "weights", source / "tests")  # a package that must stay out
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(built), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(built.glob("wetakd-*.whl")))


def test_the_wheel_holds_every_module_and_what_they_read(wheel: zipfile.ZipFile) -> None:
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "wetakd").rglob("*.py")}
    assert inside == sources | {"wetakd/digits.yaml", "wetakd/commands/study_template.yaml", "wetakd/py.typed"}


def test_the_wheel_has_a_licence_and_the_command(wheel: zipfile.ZipFile) -> None:
    def read(name: str) -> str:
        return wheel.read(f"wetakd-{PROJECT['version']}.dist-info/{name}").decode()

    assert read("licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    assert read("entry_points.txt").split() == ["[console_scripts]", "wetakd", "=", "wetakd.commands.main:main"]
    assert "License-Expression: Apache-2.0" in read("METADATA")
    assert "Requires-Python: >=3.11" in read("METADATA")


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    found = {}
    for line in lines:
        name, mark, version = line.partition("==")
        assert mark, line
        assert re.fullmatch(r"[a-z0-9-]+", name), line
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version), line
        found[name] = version
    assert len(found) == len(lines)
    return found


def test_every_requirement_has_a_pin_that_satisfies_it() -> None:
    pinned = pins()
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]:
        requirement = Requirement(text)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, text


def test_torch_and_torchvision_fit_together() -> None:
    """A torchvision that was built for another torch has no operators, or fails when it is imported."""
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [5.0, 5.0, 6.0, 6.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


def test_the_readme_begins_with_two_commands_of_one_line() -> None:
    run, test = BLOCKS[:2]
    assert run.count("\n") == test.count("\n") == 1
    for command in (run, test):
        assert "-m venv .venv" in command
        assert "-c constraints.txt -e" in command
    assert run.rstrip().endswith(".venv/bin/wetakd run")
    assert test.rstrip().endswith("tests/run")


def test_ci_runs_the_second_block_and_passes_its_failure_on(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    script = tmp_path / ".ci" / "run"

    def run(readme: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "README.md").write_text(readme)
        return subprocess.run([script], cwd="/", capture_output=True, text=True, check=False)

    second = "pwd && echo CI=$CI && exit 3"
    done = run(f"```sh\necho first\n```\n```yaml\na: b\n```\n```sh\n{second}\n```\n```sh\necho third\n```\n")
    assert done.returncode == 3
    assert done.stdout.splitlines() == [f"+ {second}", str(tmp_path), "CI=true"]
    done = run("```sh\necho first\n```\n")
    assert done.returncode == 1
    assert "no second" in done.stderr


def test_the_citation_names_this_version_and_the_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["title"], citation["version"], citation["license"]) == (
        PROJECT["name"],
        PROJECT["version"],
        PROJECT["license"],
    )
    links = [reference["url"].rpartition("/")[2] for reference in citation["references"]]
    assert links == ["2206.12005", "1902.03393"]
    assert all(reference["authors"] and reference["year"] for reference in citation["references"])


def test_the_metadata_are_what_an_index_asks_for(wheel: zipfile.ZipFile) -> None:
    text = wheel.read(f"wetakd-{PROJECT['version']}.dist-info/METADATA").decode()
    assert "Description-Content-Type: text/markdown" in text
    assert "Author: The wetakd maintainers" in text
    assert {"onnx", "cluster", "test"} <= set(re.findall(r"^Provides-Extra: (\S+)$", text, re.MULTILINE))


def test_public_names_and_version_are_there_without_heavy_imports() -> None:
    code = (
        "import sys, wetakd\n"
        "print(*dir(wetakd))\n"
        "print(wetakd.__version__)\n"
        "print(*sorted({'torch', 'ray', 'mlflow', 'pandas', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    names, version, heavy = done.stdout.split("\n")[:3]
    assert {"Study", "StudyConfig", "StudyResult", "UserError", "__version__"} <= set(names.split())
    assert version == PROJECT["version"]
    assert heavy == ""


def test_every_name_that_dir_lists_can_be_imported() -> None:
    assert all(hasattr(wetakd, name) for name in dir(wetakd))
    assert set(wetakd.__all__) <= set(dir(wetakd))
    with pytest.raises(AttributeError, match="no attribute 'Studies'"):
        _ = wetakd.Studies
