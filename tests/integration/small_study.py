"""A whole study that is as small as a study can be: digits, a teacher, two assistants, eight recipes, two seeds."""

from pathlib import Path
from typing import Any

import pandas as pd

from tests.integration.tiny_studies import NET
from wetakd import StudyConfig
from wetakd.config.study_file import config_from_tree

# Columns that may differ between two runs of one file: times, and names that others gave.
VARIABLE = ["search_seconds", "train_seconds", "mlflow_run_id"]


def tree(folder: Path, **blocks: Any) -> dict[str, Any]:
    """A file whose teacher learns long enough to be killed."""
    small = {**NET, "recipe": {**NET["recipe"], "batch_size": 64, "epochs": 3}}
    long = {**NET, "recipe": {**NET["recipe"], "batch_size": 16, "epochs": 6}}
    return {
        "study": {"name": "small", "seeds": 2, "subsets": [2], "strategies": ["uniform", "random_search", "de"]},
        "data": {"source": "digits", "max_train_images": 600},
        "splits": {"test": 0.25, "weigh": 0.15, "choose": 0.15},
        "views": {"num": 2, "crop_padding": 1},
        "teacher": long,
        "assistants": {"first": small, "second": {**small, "recipe": {**small["recipe"], "lr": 0.01}}},
        "student": small,
        "limits": {"checkpoint_s": 0},
        "mlflow": {"system_metrics": True},
        "storage": str(folder / "runs"),
    } | blocks


def study(folder: Path, **blocks: Any) -> StudyConfig:
    return config_from_tree(tree(folder, **blocks))


def results(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=VARIABLE).reset_index(drop=True)
