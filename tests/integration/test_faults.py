"""A short fault campaign: a study's driver, then one of its trials, is killed; see tests/faults for the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.studies import ROOT

SEED = 7


@pytest.mark.timeout(600)
def test_two_faults_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults", "--runs", "2", "--seed", str(SEED), "--kinds", "driver,trial"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "runs")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    outcomes = [json.loads(line) for line in (tmp_path / "runs/results.jsonl").read_text().splitlines()]
    assert sorted(kind for outcome in outcomes for kind in outcome["struck"]) == ["driver", "trial"]
