"""The built wheel in an empty environment: it checks a study, runs one, and ships its winner."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

STUDY = """\
study: {name: tiny, seeds: 1, subsets: [2], strategies: [uniform]}
data: {source: digits, max_train_images: 300}
splits: {test: 0.25, weigh: 0.15, choose: 0.15}
teacher: {model: {name: plain, options: {depth: 4}}, recipe: &recipe {epochs: 1, batch_size: 32}}
assistants:
  one: {model: {name: plain, options: {depth: 4}}, recipe: *recipe}
  two: {model: {name: plain, options: {depth: 2}}, recipe: *recipe}
student: {model: {name: plain, options: {depth: 2}}, recipe: *recipe}
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The programs of a new environment with the wheel in it and none of the checkout.

    What wetakd requires is that of this very environment, laid open to the new one by a path file: fetching six
    gigabytes would test the network.
    """
    source = tmp_path / "source"  # setuptools would leave its build folder beside the sources
    shutil.copytree(ROOT / "wetakd", source / "wetakd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True)
    (wheel,) = tmp_path.glob("wetakd-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    subprocess.run([programs / "pip", "install", "--no-deps", "--no-index", "--quiet", wheel], check=True)
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    required = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    (site / "required.pth").write_text(f"{required}\n")
    return programs


@pytest.mark.timeout(900)
def test_the_wheel_runs_a_study_where_there_is_no_checkout(installed: Path, tmp_path: Path) -> None:
    here = tmp_path / "elsewhere"
    here.mkdir()
    (here / "study.yaml").write_text(STUDY)
    hidden = ("RAY_ADDRESS", "PYTHONPATH", "WETAKD_STORAGE", "MLFLOW_TRACKING_URI", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}

    def call(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    where = call(installed / "python", "-c", "import wetakd; print(wetakd.__file__)")
    assert Path(where.strip()).is_relative_to(tmp_path / "venv")
    assert call(installed / "wetakd", "validate", "study.yaml").startswith("tiny: fine.")
    assert call(installed / "wetakd", "init", "digits").endswith("Next: wetakd plan digits.yaml\n")
    assert "3 networks and" in call(installed / "wetakd", "run", "study.yaml", "--quiet")
    call(installed / "wetakd", "export", "tiny", "--quiet")
    assert (here / "tiny-student/README.md").is_file()
