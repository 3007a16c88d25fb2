"""Workers search for modules where the driver does: a study's functions are found, and nothing else is replaced."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.small_study import tree
from tests.planted_modules import call_in, plant


@pytest.mark.timeout(300)
def test_no_module_of_the_working_directory_is_executed_by_the_workers_of_a_study(tmp_path: Path) -> None:
    marker = plant(tmp_path)
    (tmp_path / "my_losses.py").write_text("from wetakd.training.losses import kd\n\n")
    with (tmp_path / "my_losses.py").open("a") as file:
        file.write("def mine(student_BC, target_BC, labels_B, temperature):\n")
        file.write("    return kd(student_BC, target_BC, temperature)\n")
    file = tree(tmp_path)
    net: dict[str, Any] = file["student"] | {"model": {"name": "my_networks:make"}}
    study = {"name": "own", "seeds": 1, "subsets": [2], "strategies": ["uniform"], "controls": []}
    blocks = {
        "study": study,
        "teacher": net,
        "assistants": {"first": net, "second": net},
        "student": net | {"distillation": {"loss": "my_losses:mine"}},
        "mlflow": {"enabled": False},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(file | blocks))
    done = call_in(tmp_path, "run", "study.yaml", "--quiet")
    assert not marker.exists(), marker.read_text()
    assert done.returncode == 0, done.stderr
    assert "3 networks and 1 student trained" in done.stdout
    exported = call_in(tmp_path, "export", "own", "--trust-code", "--quiet")
    assert exported.returncode == 0, exported.stderr
    assert not marker.exists(), marker.read_text()
