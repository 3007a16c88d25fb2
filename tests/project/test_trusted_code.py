"""A description of a model in a file runs no code unless the user says so.

Every test plants a function that leaves a marker file, in every place that wetakd reads a description from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bad_input.study_files import BASE
from tests.bad_input.wrong_input import call
from tests.unit import simulated_results, tiny
from wetakd.commands.export import export_winner
from wetakd.common.errors import UserError
from wetakd.common.progress import QuietReporter
from wetakd.config import ModelConfig
from wetakd.config.study_file import config_from_tree
from wetakd.config.study_record import dump_record
from wetakd.export import load_student
from wetakd.export.shipped_student import DESCRIPTION_FILE, save_mlflow_model, save_student
from wetakd.export.student_files import Formats
from wetakd.models.cost import InputShape
from wetakd.models.registry import build_model
from wetakd.plan.stored_studies import read_study_config
from wetakd.storage.atomic_store import Store
from wetakd.storage.format_number import write_format
from wetakd.tracking.mlflow_tracker import open_tracker

_MODULE = """
from pathlib import Path
from torch import nn

Path({marker!r}).touch()

def network(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))

def _load_pyfunc(path):
    raise AssertionError
"""


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that exists once the module `planted` was imported."""
    marker, folder = tmp_path / "RAN", tmp_path / "importable"
    folder.mkdir()
    (folder / "planted.py").write_text(_MODULE.format(marker=str(marker)))
    monkeypatch.syspath_prepend(str(folder))
    yield marker
    sys.modules.pop("planted", None)


def _plant(folder: Path, **model: Any) -> None:
    """Replace the model that `student.json` in `folder` describes."""
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    (folder / DESCRIPTION_FILE).write_text(json.dumps({**description, "model": model}))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    folder = tmp_path / "student"
    folder.mkdir()
    save_student(tiny.network(), tiny.PLAIN_2, tiny.dataset(), folder)
    load_student(folder)
    return folder


def test_an_exported_folder_runs_a_function_only_with_trust_code(exported: Path, marker: Path) -> None:
    network = ModelConfig(name="planted:network")
    _plant(exported, name="planted:network", options={})
    with pytest.raises(UserError, match=r"student\.json: model\.name: 'planted:network' is code.*trust_code=True"):
        load_student(exported)
    assert not marker.exists()
    module = build_model(network, tiny.SHAPE, tiny.NUM_CLASSES, seed=0)
    marker.unlink()
    sys.modules.pop("planted")
    save_student(module, network, tiny.dataset(), exported)
    load_student(exported, trust_code=True)
    assert marker.exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("os:system", {"command": "touch {marker}"}),
        ("os.path:join", {}),
        (":system", {}),
        ("torchvision:get_model", {"name": "resnet18"}),
        ("torchvision:resnet.resnet18", {}),
        ("torchvision:models.resnet18", {}),
        ("torchvision:ResNet", {}),
        ("torchvision:resnet18:system", {}),
        ("torchvision:torch.hub", {}),
        ("torchvision:fasterrcnn_resnet50_fpn", {}),
        ("torchvision:RESNET18", {}),
        ("torchvision: resnet18", {}),
        ("torchvision", {}),
        ("timm:resnet18", {}),
        ("plain", {"depth": 2, "weights": "{marker}"}),
        ("torchvision:squeezenet1_1", {"weights": "DEFAULT"}),
        ("torchvision:squeezenet1_1", {"weights": None}),
        ("torchvision:squeezenet1_1", {"weights_backbone": "DEFAULT"}),
        ("torchvision:squeezenet1_1", {"pretrained": True}),
        ("torchvision:squeezenet1_1", {"pretrained_backbone": True}),
        ("torchvision:squeezenet1_1", {"name": "resnet18"}),
        ("torchvision:squeezenet1_1", {"checkpoint": "{marker}"}),
        ("torchvision:resnet18", {"norm_layer": "os:system"}),
        ("torchvision:resnet18", {"norm_layer": ["os:system"]}),
        ("torchvision:resnet18", {"norm_layer": {"os:system": 1}}),
    ],
)
def test_an_exported_folder_builds_registry_names_with_plain_options_only(
    name: str, options: dict[str, Any], exported: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: Any, **__: Any) -> None:
        marker.touch()
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", download)
    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    given = json.loads(json.dumps(options).replace("{marker}", str(marker)))
    _plant(exported, name=name, options=given)
    with pytest.raises(UserError) as caught:
        load_student(exported)
    assert str(caught.value).startswith(f"{exported / DESCRIPTION_FILE}: model")
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_a_network_of_torchvision_needs_no_trust(exported: Path) -> None:
    model = ModelConfig(name="torchvision:squeezenet1_1", options={"dropout": 0.1})
    dataset = tiny.dataset()
    transform = dataset.transform.from_dict({**dataset.transform.to_dict(), "height": 64, "width": 64, "channels": 3})
    module = build_model(model, InputShape(3, 64, 64), tiny.NUM_CLASSES, seed=0)
    save_student(module, model, tiny.dataset(), exported)
    described = json.loads((exported / DESCRIPTION_FILE).read_text())
    (exported / DESCRIPTION_FILE).write_text(json.dumps({**described, "transform": transform.to_dict()}))
    assert load_student(exported).transform.height == 64


# --------------------------------------------------------------------------------------------- the study on record

_NET: dict[str, Any] = {**BASE["teacher"]}  # type: ignore[dict-item]
_RECORDS: dict[str, dict[str, Any]] = {
    "student.model.name": {"student": _NET | {"model": {"name": "planted:network"}}},
    "teacher.model.name": {"teacher": _NET | {"model": {"name": "planted:network"}}},
    "student.distillation.loss": {"student": _NET | {"distillation": {"loss": "planted:network"}}},
    "data.callable": {"data": {"source": "callable", "callable": "planted:network"}},
}
_ALMOST_TORCHVISION: dict[str, dict[str, Any]] = {
    "data.callable": {"data": {"source": "callable", "callable": "torchvision:get_image_backend"}},
    "student.distillation.loss": {"student": _NET | {"distillation": {"loss": "torchvision:set_image_backend"}}},
    "student.model.name": {"student": _NET | {"model": {"name": "archive/planted:network"}}},
}


def _recorded(tmp_path: Path, blocks: dict[str, Any]) -> tuple[Store, str]:
    """A storage with a finished study whose record on storage has other `blocks`."""
    found, store = simulated_results.simulated(), Store(str(tmp_path / "runs"))
    config = config_from_tree(BASE | {"study": {"name": found.study}} | blocks)
    write_format(store)
    store.write(f"studies/{found.study}/study.json", dump_record(config))
    found.write(store)
    return store, found.study


@pytest.mark.parametrize(
    ("field", "blocks"),
    [*_RECORDS.items(), *_ALMOST_TORCHVISION.items()],
    ids=[*_RECORDS, *(f"{field}, torchvision or path" for field in _ALMOST_TORCHVISION)],
)
def test_export_refuses_a_function_in_any_field_of_the_record(
    field: str, blocks: dict[str, Any], tmp_path: Path, marker: Path
) -> None:
    store, study = _recorded(tmp_path, blocks)
    words = ("export", study, "--storage", store.uri, "--to", str(tmp_path / "to"))
    code, _, complaint = call(*words)
    assert (code, complaint.count("\n"), marker.exists()) == (2, 1, False)
    assert complaint.startswith(f"wetakd: {field}: ")
    assert "--trust-code" in complaint
    with pytest.raises(UserError, match="pass --trust-code"):
        export_winner(
            read_study_config(store, study),
            store,
            tmp_path / "to",
            Formats(),
            QuietReporter(),
        )
    assert not marker.exists()


@pytest.mark.parametrize("blocks", _RECORDS.values(), ids=_RECORDS)
@pytest.mark.parametrize("command", ["report", "sync", "ui", "ls", "gc"])
def test_a_command_that_only_reads_runs_no_function_of_the_record(
    command: str, blocks: dict[str, Any], tmp_path: Path, marker: Path
) -> None:
    store, study = _recorded(tmp_path, blocks | {"mlflow": {"enabled": False}})
    words = (command, study) if command in ("report", "sync", "ui") else (command,)
    code, _, complaint = call(*words, "--storage", store.uri)
    assert code == (2 if command in ("ui", "gc") else 0), complaint  # nothing to open; no list of references
    assert not marker.exists()


def test_a_planted_copy_of_the_mlflow_model_is_sent_and_not_loaded(tmp_path: Path, marker: Path) -> None:
    """Whoever can write to the storage can name a loader module in the MLmodel file that `sync` sends."""
    folder = tmp_path / "model"
    save_mlflow_model(tiny.network(), tiny.dataset(), folder)
    described = yaml.safe_load((folder / "MLmodel").read_text())
    described["flavors"]["python_function"]["loader_module"] = "planted"
    described["flavors"]["planted"] = {"loader_module": "planted", "code": "code"}
    (folder / "MLmodel").write_text(yaml.safe_dump(described))
    store = Store(str(tmp_path / "runs"))
    config = config_from_tree(BASE | {"study": {"name": "s"}, "storage": store.uri, "mlflow": {"enabled": True}})
    with open_tracker(config, store) as tracker:
        tracker.start_run("study", name="s")
        tracker.log_model("study", str(folder), name="student", description="", register_as=None)
        tracker.end_run("study", "FINISHED")
        assert tracker.flush(60.0)
    assert not marker.exists()
    sent = list((tmp_path / "runs").rglob("MLmodel"))
    assert sent
    assert "planted" in sent[0].read_text()
