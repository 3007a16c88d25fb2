"""`wetakd.weights.search` and the entry points of installed packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.contract.commands import STUDY_FILE, Wetakd
from tests.contract.services import clean_environment

FIELDS = {
    "weights",
    "strategy",
    "seed",
    "objective",
    "evaluations",
    "seconds",
    "accuracy",
    "nll",
    "accuracy_cap",
    "gap",
    "crossfit_gain",
    "crossfit_error",
    "warnings",
}
_SEARCH = """
import json
import numpy as np
from wetakd.weights import search

rng = np.random.default_rng(0)
labels_N = rng.integers(4, size=200)
scores_KNC = rng.normal(size=(3, 200, 4))
scores_KNC[0] += 3 * np.eye(4)[labels_N]
answers = []
for _ in range(2):
    found = search(scores_KNC, labels_N, scores_are="logits", strategy="{strategy}", seed=1)
    values = {{name: getattr(found, name, "missing") for name in {fields}}}
    answers.append(values | {{"weights": list(found.weights), "dtype": str(found.weights.dtype)}})
print(json.dumps(answers))
"""
_STRATEGY = '''
import numpy as np
from wetakd.weights import Found, Options, Problem, Strategy


class FirstOnly(Strategy):
    """All weight on the first network."""

    name = "first_only"

    def find(self, problem: Problem, options: Options) -> Found:
        return Found(np.eye(problem.num_networks)[0], 1)
'''


def test_search_returns_frozen_fields() -> None:
    found, again = _search("de", clean_environment())
    assert not [name for name in FIELDS if found[name] == "missing"]
    assert found["dtype"] == "float64"
    assert found["strategy"] == "de"
    assert found["seed"] == 1
    assert abs(sum(found["weights"]) - 1) < 1e-9
    assert found["accuracy"] <= found["accuracy_cap"]
    assert {**again, "seconds": 0} == {**found, "seconds": 0}


def test_strategies_of_installed_packages_are_found(tmp_path: Path) -> None:
    site = tmp_path / "site"
    metadata = site / "first_only-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "first_only.py").write_text(_STRATEGY)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: first-only\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[wetakd.strategies]\nfirst_only = first_only:FirstOnly\n")
    environment = clean_environment()
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), environment.get("PYTHONPATH")]))

    assert [found["weights"] for found in _search("first_only", environment)] == 2 * [[1.0, 0.0, 0.0]]
    assert _validate("first_only", environment, tmp_path).returncode == 0
    refused = _validate("first_only", clean_environment(), tmp_path)
    assert refused.returncode == 2
    assert "first_only" in refused.stderr


def _search(strategy: str, environment: dict[str, str]) -> list[dict[str, Any]]:
    code = _SEARCH.format(strategy=strategy, fields=sorted(FIELDS))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def _validate(strategy: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    wetakd = Wetakd(folder, environment)
    return wetakd("validate", str(STUDY_FILE), "--set", f"study.strategies=[uniform,{strategy}]")
