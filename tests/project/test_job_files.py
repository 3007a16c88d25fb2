"""The shipped study files are what their comments say; a submitted job refuses storage that would be lost."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wetakd.common.errors import UserError
from wetakd.config.study_file import load_study_file
from wetakd.data.views import Views
from wetakd.models.cost import InputShape, measure_cost
from wetakd.models.registry import build_model
from wetakd.plan.checks_before_training import check_storage

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "jobs").glob("*.yaml"))
CIFAR = [path for path in FILES if path.name.startswith("cifar")]
NUM_CLASSES = {"digits": 10, "cifar10": 10, "cifar10-paper": 10, "cifar100": 100}
# Sizes of TAKD's plain CNNs of 10, 8, 6, 4 and 2 layers on colour images of 32x32.
SIZES = {10: [2_487_850, 327_962, 82_778, 37_338, 13_082], 100: [2_931_460, 1_246_276, 1_107_204, 475_652, 215_172]}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WETAKD_STORAGE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_all_of_them_are_looked_at() -> None:
    assert {path.stem for path in FILES} == set(NUM_CLASSES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_file_is_valid_and_named_after_itself(path: Path) -> None:
    config = load_study_file(path)
    assert config.study.name == path.stem
    assert config.study.primary.strategy == "de"
    assert {"uniform", "random", "random_search", "de"} <= set(config.study.strategies)
    assert set(config.study.controls) == {"none", "teacher", "single", "dgkd"}
    Views.of(config.views).check_size(8, 8)


def test_the_example_of_the_readme_is_valid(tmp_path: Path) -> None:
    block = re.search(r"^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert block
    file = tmp_path / "mine.yaml"
    file.write_text(block[1])
    assert load_study_file(file).study.name == "mine"


def test_digits_is_the_embedded_study() -> None:
    assert load_study_file(ROOT / "jobs" / "digits.yaml") == load_study_file(None)


@pytest.mark.parametrize("path", CIFAR, ids=lambda path: path.stem)
def test_cifar_networks_are_those_of_takd(path: Path) -> None:
    config, num_classes = load_study_file(path), NUM_CLASSES[path.stem]
    models = [network.model for network in config.networks.values()] + [config.student.model]
    shape = InputShape(3, 32, 32)
    sizes = [measure_cost(build_model(model, shape, num_classes, seed=0), shape).parameters for model in models]
    assert sizes == SIZES[num_classes]
    text = path.read_text()
    assert all(f"# {size:,} parameters" in text for size in sizes)


@pytest.mark.parametrize("path", CIFAR, ids=lambda path: path.stem)
def test_cifar_studies_use_ray_train_and_fit_on_two_cores(path: Path) -> None:
    config = load_study_file(path)
    assert config.study.seeds == (0, 1, 2, 3, 4)
    for network in config.networks.values():
        assert network.workers == 1
        assert network.recipe.threads == network.placement.cpus <= 2
    assert config.student.recipe.threads == config.student.placement.cpus == 1


def test_digits_starts_no_worker_group() -> None:
    assert all(network.workers == 0 for network in load_study_file(None).networks.values())


def test_the_sound_recipes_decay_and_augment() -> None:
    for name, crop_padding in (("cifar10", 0), ("cifar100", 4)):
        config = load_study_file(ROOT / "jobs" / f"{name}.yaml")
        assert config.views.flip
        assert config.views.num > 1
        assert config.views.crop_padding == crop_padding
        recipes = [network.recipe for network in config.networks.values()] + [config.student.recipe]
        assert {recipe.schedule for recipe in recipes} == {"cosine"}


def test_the_paper_arm_is_takd_to_the_letter() -> None:
    config = load_study_file(ROOT / "jobs" / "cifar10-paper.yaml")
    assert (config.views.num, config.views.flip, config.views.crop_padding) == (1, False, 0)
    for recipe in [network.recipe for network in config.networks.values()] + [config.student.recipe]:
        assert (recipe.epochs, recipe.batch_size, recipe.optimizer) == (160, 128, "sgd")
        assert (recipe.momentum, recipe.nesterov, recipe.weight_decay) == (0.9, False, 1e-4)
        assert (recipe.lr, recipe.schedule, recipe.warmup_epochs, recipe.label_smoothing) == (0.01, "constant", 0, 0)
        assert recipe.precision == "float32"
    for taught in [*config.assistants.values(), config.student]:
        loss = taught.distillation
        assert (loss.loss, loss.temperature, loss.standardize) == ("kd", 5.0, False)
        assert loss.label_weight == 0.5
        assert loss.alpha == pytest.approx(0.5 / NUM_CLASSES["cifar10-paper"])
    assert (config.weights.objective, config.weights.mixture, config.weights.temperature) == (
        "accuracy",
        "probabilities",
        1.0,
    )


def test_parquet_files_lie_where_git_does_not_look() -> None:
    """Relative paths below data/, which neither git nor a submitted job's upload takes along."""
    for path in CIFAR:
        data = load_study_file(path).data
        assert data.source == "parquet"
        assert all(file.startswith("data/") for file in (*data.train, *(data.test or ())))
    assert "/data/" in (ROOT / ".gitignore").read_text().splitlines()


def test_a_submitted_job_refuses_a_relative_storage_path(tmp_path: Path) -> None:
    """`jobs/study.py` as Ray starts it, but without a cluster: it gets no further than this line."""
    command = [sys.executable, str(ROOT / "jobs" / "study.py"), "--set", "storage=elsewhere"]
    environment = {**os.environ, "RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("wetakd: storage: 'elsewhere' is a relative path, but a submitted job runs in a temp")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_only_a_relative_path_in_a_submitted_job_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_storage(load_study_file(None))
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    for storage in ("/mnt/shared", "~/runs", "s3://bucket/runs"):
        check_storage(load_study_file(None, [f"storage={storage}"]))
    monkeypatch.setenv("WETAKD_STORAGE", "runs")
    with pytest.raises(UserError, match="'runs' is a relative path"):
        check_storage(load_study_file(None))
