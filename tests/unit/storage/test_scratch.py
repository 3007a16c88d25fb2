"""Temporary folders: gone after use, and those of killed processes gone at the next use."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from wetakd.storage.scratch import scratch


def test_folders_of_dead_processes_go_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        f"import os, sys, tempfile; tempfile.tempdir = {str(tmp_path)!r}\nfrom wetakd.storage.scratch import scratch\n"
    )
    code += "with scratch(): sys.stdout.flush(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    (tmp_path / "wetakd-notes").mkdir()
    with scratch() as outer, scratch() as inner:
        assert not left.exists()
        assert outer.is_dir()
        assert inner.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["wetakd-notes"]
