"""A logit cache larger than the object store: Ray spills what does not fit; the students are the same."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.timeout(900)

NUM_CLASSES = 1000
STORE_BYTES = 80 * 2**20

STUDY = """
import json, sys
import ray
from wetakd import Study
from wetakd.plan.study_plan import Plan
from wetakd.plan.cost_forecast import forecast
from wetakd.stages.data_loading import load_data
from wetakd.common.progress import QuietReporter
from wetakd.config.study_file import config_from_tree

if __name__ == "__main__":
    folder, store_bytes = sys.argv[1], int(sys.argv[2])
    net = {"model": {"name": "plain", "options": {"depth": 2}}}
    recipe = {"epochs": 1, "batch_size": 64, "lr": 0.05, "precision": "float32"}
    names = ("first", "second", "third", "fourth")
    config = config_from_tree(
        {
            "study": {"name": "large", "seeds": 2, "subsets": [4], "strategies": ["uniform", "de"], "controls": []},
            "data": {"source": "callable", "callable": "tests.slow.test_large_logit_cache:pictures"},
            "splits": {"weigh": 0.2, "choose": 0.2},
            "views": {"num": 4, "crop_padding": 1},
            "teacher": net | {"recipe": recipe},
            "assistants": {n: net | {"recipe": recipe | {"lr": 0.01 * (i + 1)}} for i, n in enumerate(names)},
            "student": net | {"recipe": recipe},
            "mlflow": {"enabled": False},
            "storage": folder,
        }
    )
    ray.init(address="local", num_cpus=2, object_store_memory=store_bytes, log_to_driver=False)
    study = Study(config)
    result = study.run()
    cache_bytes = forecast(Plan(config, load_data(config, QuietReporter())), study.store).cache_bytes
    print(json.dumps({"cache_bytes": cache_bytes, "exit_code": result.exit_code}))
"""


def pictures() -> tuple[object, object, object, object]:
    """Five noise images a class to learn from and one to test on."""
    import numpy as np

    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(NUM_CLASSES), 5)
    images = rng.integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    return images, labels, images[:NUM_CLASSES], labels[:NUM_CLASSES]


def run(folder: Path, store_bytes: int) -> tuple[dict[str, int], pd.DataFrame]:
    folder.mkdir()
    script = folder / "study.py"
    script.write_text(STUDY)
    command = [sys.executable, str(script), str(folder / "runs"), str(store_bytes)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr[-3000:]
    table = pd.read_parquet(folder / "runs/studies/large/trials.parquet")
    return json.loads(told.stdout.splitlines()[-1]), table.drop(columns=["search_seconds", "train_seconds"])


def test_a_logit_cache_larger_than_the_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    small, table = run(tmp_path / "small", STORE_BYTES)
    assert small["cache_bytes"] > 1.2 * STORE_BYTES
    assert small["exit_code"] == 0
    _, ample = run(tmp_path / "ample", 8 * STORE_BYTES)
    pd.testing.assert_frame_equal(table, ample)
