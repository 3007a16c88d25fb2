"""The documented example of every extension point does its work: its page's own files are run.

`test_docs.py` follows the pages whose commands train nothing. Here is what they leave out, or would need a cluster for.
"""

from __future__ import annotations

import importlib
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.documentation_pages import PAGES, blocks, write_files
from tests.planted_networks import plant_networks
from tests.unit import simulated_results, tiny
from tests.unit.weights.made_scores import make_scores
from tests.unit.weights.strategy_contract import StrategyContract
from wetakd.commands.main import commands
from wetakd.common.progress import QuietReporter
from wetakd.config import DistillationConfig, ModelConfig
from wetakd.config.study_file import load_study_file
from wetakd.models.cost import InputShape
from wetakd.models.registry import build_model
from wetakd.stages.data_loading import load_data
from wetakd.stages.result_tables import networks_table
from wetakd.storage.atomic_store import Store
from wetakd.training.objective import Targets
from wetakd.weights import Problem, Strategy, search, strategy_named

HOW_TO = PAGES / "how-to"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WETAKD_STORAGE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)


def _imported(monkeypatch: pytest.MonkeyPatch, page: str, folder: Path, module: str) -> ModuleType:
    """A module that a page writes."""
    write_files(HOW_TO / f"{page}.md", folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)
    return importlib.import_module(module)


def _told(*words: str) -> str:
    told = CliRunner().invoke(commands, words, catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return told.stdout


class TestStrategy(StrategyContract):
    """The page's package, installed by the page's command, keeps the contract that the built-in strategies keep."""

    @pytest.fixture(scope="class")
    def site(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("strategy")
        page = HOW_TO / "strategy.md"
        write_files(page, folder)
        commands_of_page = [line for block in blocks(page) if block.kind == "sh" for line in block.text.splitlines()]
        (install,) = [line for line in commands_of_page if line.startswith("pip install")]
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PIP_TARGET": str(folder / "site"),
        }
        subprocess.run(["bash", "-c", install], cwd=folder, env=environment, check=True, capture_output=True)
        return folder / "site"

    @pytest.fixture
    def strategy(self, site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Strategy]:
        monkeypatch.chdir(site.parent)
        monkeypatch.syspath_prepend(str(site))
        yield strategy_named("by_accuracy")
        sys.modules.pop("by_accuracy", None)

    def test_it_weighs_by_accuracy_above_guessing(self, strategy: Strategy) -> None:
        logits_KNC, labels_N = make_scores(3, 200)
        found = search(logits_KNC, labels_N, scores_are="logits", strategy=strategy.name)
        above = (logits_KNC.argmax(axis=2) == labels_N).mean(axis=1) - 1 / Problem(
            logits_KNC, labels_N, scores_are="logits"
        ).num_classes
        assert found.weights == pytest.approx(above / above.sum())

    def test_the_study_file_of_the_page_compares_it(self, strategy: Strategy) -> None:
        assert "declared  the contrast of by_accuracy against uniform" in _told("plan", "strategy.yaml")


def test_a_network_is_trained_with_the_loss_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _imported(monkeypatch, "loss", tmp_path, "losses_of_mine")
    targets = Targets((tiny.made_logits(tiny.dataset()),), (1.0,))
    losses = {}
    for loss in load_study_file("loss.yaml").study.sweep["student.distillation.loss"].grid or ():
        distillation = DistillationConfig(loss=loss, alpha=0.9, temperature=2.0)
        network, epochs = tiny.run(distillation=distillation, targets=targets)
        assert all(torch.isfinite(weight).all() for weight in network.state_dict().values())
        losses[loss] = [epoch.loss for epoch in epochs]
    assert set(losses) == {"kd", "losses_of_mine:squared"}
    assert losses["kd"] != losses["losses_of_mine:squared"]
    logits_BC = torch.randn(4, 3)
    assert module.squared(logits_BC, logits_BC, torch.zeros(4), 2.0) == 0


def test_the_network_of_the_page_is_built_and_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _imported(monkeypatch, "model", tmp_path, "networks")
    config = load_study_file("model.yaml")
    for model in (config.teacher.model, config.student.model):
        network = build_model(
            ModelConfig.model_validate(model.model_dump()), InputShape(1, 8, 8), tiny.NUM_CLASSES, seed=0
        )
        _, epochs = tiny.run(model=network)
        assert epochs[-1].loss < epochs[0].loss


def test_the_images_of_the_page_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _imported(monkeypatch, "data", tmp_path, "loading")
    _told("init", "loading:stripes")
    config = load_study_file("stripes.yaml")
    dataset = load_data(config, QuietReporter())
    images, labels = module.stripes()
    assert np.array_equal(np.squeeze(dataset.images_NCHW), images)
    assert np.array_equal(dataset.labels_N, labels)


def test_weights_for_each_image_are_made_of_stored_logits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `wetakd run before.yaml`, whose networks are trained here without a cluster."""
    write_files(HOW_TO / "per-sample.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    config = load_study_file("before.yaml")
    networks = plant_networks(config, load_data(config, QuietReporter()))
    made_up = simulated_results.simulated(num_seeds=2, study="before")
    replace(made_up, networks=networks_table(networks, {})).write(Store(config.storage))

    runpy.run_path("camkd.py", run_name="__main__")
    plan = _told("plan", "after.yaml")
    assert "0 to train, 3 found on storage" in plan
    assert "camkd" in plan
