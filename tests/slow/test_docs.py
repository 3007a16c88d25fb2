"""The pages whose examples run whole studies, each command in a process of its own."""

import json
from pathlib import Path

import pytest

from tests.documentation_pages import PAGES, follow

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WETAKD_STORAGE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)


def test_a_strategy_of_an_installed_package_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (*_, told) = follow(PAGES / "how-to/strategy.md", tmp_path, monkeypatch, apart=True)
    assert "by accuracy" in told


def test_weights_for_each_image_become_one_more_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (*_, told) = follow(PAGES / "how-to/per-sample.md", tmp_path, monkeypatch, apart=True)
    assert "single camkd" in told
    assert "\n0 networks and " in told
    summary = json.loads((tmp_path / "runs/studies/after/summary.json").read_text())
    assert summary["pool"] == ["ta4", "ta2", "camkd"]


@pytest.mark.parametrize("name", ["tutorial", "how-to/export"])
def test_the_long_pages_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(follow(PAGES / f"{name}.md", tmp_path, monkeypatch, apart=True))
    assert (tmp_path / "digits-student/README.md").is_file()
