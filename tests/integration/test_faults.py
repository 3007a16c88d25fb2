"""A short fault campaign: a study whose driver and one of its tasks are killed; see tests/faults for the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.faulted_study import ROOT

SEED = 7


@pytest.mark.timeout(600)
def test_two_faults_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults", "--runs", "1", "--seed", str(SEED), "--kinds", "driver"]
    done = subprocess.run(
        [*command, "--company", "1", "--folder", str(tmp_path / "runs")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    (outcome,) = [json.loads(line) for line in (tmp_path / "runs/results.jsonl").read_text().splitlines()]
    assert "driver" in outcome["struck"]
