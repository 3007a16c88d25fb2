"""The CIFAR files run end to end as they ship, with Ray Train's worker groups, on a few images in their layout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import reduced_job_files
from tests.unit.made_images import pictures, png


def write_images(file: Path, num: int, num_classes: int, label: str, seed: int) -> Path:
    """Noise whose brightness tells the class, as PNG in the layout of the Hugging Face hub."""
    labels_N = np.arange(num) % num_classes
    pixels_NHWC = pictures(num, size=32, seed=seed) // 2 + (labels_N * 120 // num_classes)[:, None, None, None]
    images = [{"bytes": png(image.astype(np.uint8)), "path": None} for image in pixels_NHWC]
    pq.write_table(pa.table({"img": images, label: labels_N}), file)
    return file


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "num_images", "num_classes", "label"),
    [("cifar10", 300, 10, "label"), ("cifar10-paper", 300, 10, "label"), ("cifar100", 1000, 100, "fine_label")],
)
def test_a_cifar_study_runs_end_to_end(
    name: str, num_images: int, num_classes: int, label: str, tmp_path: Path
) -> None:
    fields = {
        "data.train": write_images(tmp_path / "train.parquet", num_images, num_classes, label, seed=0),
        "data.test": write_images(tmp_path / "test.parquet", 3 * num_classes, num_classes, label, seed=1),
        "study.strategies": "[uniform, de]",
        "study.subsets": "[3]",
    }
    overrides = [part for change in reduced_job_files.reduced(name, tmp_path, **fields) for part in ("--set", change)]
    command = [
        sys.executable,
        str(reduced_job_files.JOBS / "study.py"),
        str(reduced_job_files.path(name)),
        "--json",
        *overrides,
    ]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)

    table = pd.read_parquet(tmp_path / "runs" / "studies" / name / "trials.parquet")
    assert len(table) == (2 + 1 + 1 + 3 + 1) * 2  # de and uniform; none, teacher, single ones, dgkd; two seeds
    assert table["error"].isna().all()
    assert table["student_test_accuracy"].notna().all()
