"""A study whose teacher is a file of logits, and one of whose assistants is a checkpoint: neither is trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.integration.tiny_studies import NET, PLAIN
from wetakd import Study
from wetakd.common.progress import QuietReporter
from wetakd.config import ModelConfig
from wetakd.config.study_file import config_from_tree
from wetakd.models import registry
from wetakd.stages.data_loading import load_data
from wetakd.training.inference import predict

pytestmark = pytest.mark.timeout(300)


def test_networks_from_elsewhere_teach_and_are_mixed_without_training(ray_cluster: None, tmp_path: Path) -> None:
    tree: dict[str, Any] = {
        "study": {"name": "brought", "seeds": 1, "subsets": [2], "strategies": ["uniform", "de"]},
        "data": {"source": "digits", "max_train_images": 300},
        "splits": {"test": 0.25, "weigh": 0.15, "choose": 0.15},
        "teacher": {"logits": str(tmp_path / "teacher.npy"), "trained_on": "unknown"},
        "assistants": {
            "ready": {"model": PLAIN, "checkpoint": str(tmp_path / "ready.pt"), "trained_on": "fit"},
            "taught": NET,
        },
        "student": NET,
        "storage": str(tmp_path / "runs"),
    }
    config = config_from_tree(tree)
    dataset = load_data(config, QuietReporter())
    model = registry.new_model(ModelConfig(**PLAIN), dataset, seed=7)
    torch.save(model.state_dict(), tmp_path / "ready.pt")
    labels = np.eye(10, dtype=np.float32)[dataset.labels_N]
    np.save(tmp_path / "teacher.npy", 6 * labels)

    result = Study(config).run()
    assert result.exit_code == 0
    assert result.num_networks_trained == 1
    assert result.table["error"].isna().all()
    networks = result.results.networks.set_index("name")
    assert networks["imported"].dropna().to_dict() == {
        "teacher": "logits, trained on: unknown",
        "ready": "checkpoint, trained on: fit",
    }
    assert networks.loc["teacher", "test_accuracy"] == 1.0
    test = dataset.splits.test
    right = predict(model, dataset, test).argmax(1) == dataset.labels_N[test]
    assert networks.loc["ready", "test_accuracy"] == pytest.approx(right.mean())
    assert networks.loc["taught", "taught_by"] == ["teacher"]
    assert result.results.teacher_cost is None
    assert "teacher (logits, trained on: unknown)" in result.report.markdown
    assert set(result.table.loc[result.table["strategy"] == "de", "num_assistants"]) == {2}
    again = Study(config).run()
    assert (again.num_networks_trained, again.num_students_trained) == (0, 0)
