"""`wetakd export`: the winner in a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.contract.conftest import Finished


def test_winner_is_exported(finished: Finished, tmp_path: Path) -> None:
    wetakd, folder = finished.wetakd, tmp_path / "student"
    storage = str(wetakd.layout.root)
    done = wetakd("export", "contract", "--storage", storage, "--to", str(folder), "--quiet")
    assert done.returncode == 0, done.stderr

    (weights,) = folder.glob("*.safetensors")
    tensors = load_file(weights)
    assert tensors
    assert all(np.isfinite(tensor).all() for tensor in tensors.values())
    descriptions = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert any(description.get("model", {}).get("name") == "plain" for description in descriptions)
    card = (folder / "README.md").read_text()
    assert "contract" in card
    assert list(folder.rglob("MLmodel"))


def test_export_of_an_unknown_study_is_refused(finished: Finished, tmp_path: Path) -> None:
    wetakd = finished.wetakd
    refused = wetakd("export", "unknown", "--storage", str(wetakd.layout.root), "--to", str(tmp_path / "student"))
    assert refused.returncode == 2
    assert "unknown" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "student").exists()
