"""`wetakd why`, on real digits."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from wetakd.commands.why import why
from wetakd.storage.atomic_store import Store


def run(folder: Path, *words: str) -> str:
    overrides = ("--set", f"storage={folder}", "--set", "study.strategies=[uniform]", "--set", "study.primary=null")
    result = CliRunner().invoke(why, [*overrides, *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_everything_is_new_on_an_empty_storage(tmp_path: Path) -> None:
    assert run(tmp_path).startswith("teacher and ")
    found, *_ = json.loads(run(tmp_path, "--json"))
    assert found["names"][:4] == ["teacher", "ta8", "ta6", "ta4"]
    assert found["reason"] == "nothing of its kind is stored"
    assert not (tmp_path / "studies").exists()


def test_a_storage_of_another_format_is_refused(tmp_path: Path) -> None:
    Store(str(tmp_path)).write("studies/digits/summary.json", b"{}")
    overrides = ["--set", f"storage={tmp_path}"]
    result = CliRunner().invoke(why, overrides)
    assert "has format 1" in str(result.exception)
