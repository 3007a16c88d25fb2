"""`wetakd export`: the folder that it writes holds the very student that won, and its card can be followed."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tests.unit import simulated_results
from wetakd.commands.export import export_winner
from wetakd.common.errors import UserError
from wetakd.common.progress import QuietReporter
from wetakd.config import StudyConfig, SweepPoint
from wetakd.config.study_file import config_from_tree
from wetakd.data.views import Views
from wetakd.export.shipped_student import load_student
from wetakd.export.student_files import Formats
from wetakd.results.stored_results import Results
from wetakd.stages import training_job, training_run
from wetakd.stages.data_loading import load_data
from wetakd.storage.addresses import WEIGHTS_BLOB, student_address
from wetakd.storage.atomic_store import Store
from wetakd.training.inference import predict

RECIPE = {"epochs": 1, "batch_size": 64, "lr": 0.05, "precision": "float32"}
NET = {"model": {"name": "plain", "options": {"depth": 2}}, "recipe": RECIPE}
CONFIG = config_from_tree(
    {
        "study": {"name": "made-up", "pool": ["ta8", "ta6", "ta4"]},
        "data": {"source": "digits", "max_train_images": 400},
        "splits": {"weigh": 0.15, "choose": 0.15, "test": 0.25},
        "teacher": NET,
        "assistants": {"ta8": NET, "ta6": NET, "ta4": NET},
        "student": NET,
    }
)


def export(folder: Path, config: StudyConfig, store: Store, **formats: bool) -> list[Path]:
    return export_winner(config, store, folder, Formats(**formats), QuietReporter())


def with_digest(results: Results, digest: str) -> Results:
    """The same results, which say that the weights of the winner have this SHA-256."""
    assert results.winner is not None
    won = results.trials["student_key"] == results.winner.student_key
    return replace(results, trials=results.trials.assign(student_digest=won.map({True: digest, False: None})))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A storage with the results of a study and the one student that they say has won."""
    store = Store(str(tmp_path_factory.mktemp("runs")))
    dataset = load_data(CONFIG, QuietReporter())
    results = simulated_results.simulated()
    assert results.winner is not None
    job = training_job.TrainingJob(
        uid="winner",
        address=student_address(results.winner.student_key),
        payload={"kind": "student"},
        model=CONFIG.student.model,
        recipe=CONFIG.student.recipe,
        precision="float32",
        seed=3,
        views=Views.of(CONFIG.views),
        device="cpu",
        store_uri=store.uri,
        checkpoint_s=1000.0,
    )
    list(training_run.run_job(job, dataset))
    manifest = store.find(job.address)
    assert manifest is not None
    with_digest(results, manifest.blobs[WEIGHTS_BLOB].sha256).write(store)
    return store


@pytest.fixture(scope="module")
def shipped(finished: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "student"
    paths = export(folder, CONFIG, finished, onnx=True, int8=True)
    names = ["README.md", "mlflow", "student.int8.onnx", "student.json", "student.onnx", "student.safetensors"]
    assert [path.name for path in paths] == names
    return folder


def test_it_is_the_student_that_won_with_its_transform(finished: Store, shipped: Path) -> None:
    dataset = load_data(CONFIG, QuietReporter())
    winner = simulated_results.simulated().winner
    assert winner is not None
    manifest = finished.find(student_address(winner.student_key))
    assert manifest is not None
    model = training_run.load_model(finished, manifest, CONFIG.student.model, dataset)
    some = dataset.splits.test[:20]
    with torch.inference_mode():
        logits = load_student(shipped)(torch.from_numpy(dataset.images_NCHW[some])).numpy()
    np.testing.assert_allclose(logits, predict(model, dataset, some), atol=1e-5)
    (by_onnx,) = onnxruntime.InferenceSession(shipped / "student.onnx").run(None, {"images": dataset.images_NCHW[some]})
    np.testing.assert_allclose(by_onnx, logits, atol=1e-4)


def test_the_cards_code_runs_as_it_stands(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shipped)
    blocks = re.findall(r"^```python\n(.*?)^```$", Path("README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, {})
    classes = re.findall(r"\[(\d)\]", capsys.readouterr().out)
    assert len(classes) == 3
    assert len(set(classes)) == 1


def test_the_card_gives_the_numbers_of_the_results_and_of_the_files(shipped: Path) -> None:
    card = (shipped / "README.md").read_text()
    results = simulated_results.simulated()
    assert results.winner is not None
    row = results.trials[results.trials["student_key"] == results.winner.student_key].iloc[0]
    assert f"| accuracy on `test`, % | {100 * row['student_test_accuracy']:.2f} |" in card
    assert "| one image on one CPU thread, median, ms | 0.41 |" in card
    found = {
        name: float(value) for name, value in re.findall(r"`(student\S+)`: accuracy on `test`, % \| ([\d.]+) ", card)
    }
    dataset = load_data(CONFIG, QuietReporter())
    test = dataset.splits.test
    for name, percent in found.items():
        (logits,) = onnxruntime.InferenceSession(shipped / name).run(None, {"images": dataset.images_NCHW[test]})
        assert percent == pytest.approx(100 * (logits.argmax(1) == dataset.labels_N[test]).mean(), abs=0.005)
    assert found.keys() == {"student.onnx", "student.int8.onnx"}


def test_an_earlier_export_is_written_over_and_anything_else_is_left_alone(finished: Store, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match=r"^--to: .* is there already and no earlier export"):
        export(tmp_path, CONFIG, finished)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    (tmp_path / "README.md").unlink()
    (tmp_path / "student.json").write_text("{}")
    (tmp_path / "student.onnx").write_text("old")
    assert "student.onnx" not in [path.name for path in export(tmp_path, CONFIG, finished)]
    assert json.loads((tmp_path / "student.json").read_text())["class_names"] == [str(n) for n in range(10)]


def test_other_images_than_the_student_was_trained_on_are_refused(finished: Store, tmp_path: Path) -> None:
    data = CONFIG.data.model_copy(update={"max_train_images": 300})
    with pytest.raises(UserError, match=r"^data: is not what the winner was trained on"):
        export(tmp_path, CONFIG.model_copy(update={"data": data}), finished)


def test_other_weights_than_the_results_describe_are_refused(finished: Store, tmp_path: Path) -> None:
    """The student was trained again, and a GPU gave other weights."""
    results, store = simulated_results.simulated(), Store(str(tmp_path / "runs"))
    assert results.winner is not None
    trained = finished.find(student_address(results.winner.student_key))
    assert trained is not None
    weights = finished.read(trained, WEIGHTS_BLOB)
    store.commit(trained.address, {WEIGHTS_BLOB: weights}, trained.facts, trained.payload)
    with_digest(results, "0" * 64).write(store)
    with pytest.raises(UserError, match=r"was trained again, .* run the study again"):
        export(tmp_path / "to", CONFIG, store)
    assert not (tmp_path / "to").exists()


def test_a_point_that_the_study_does_not_sweep_builds_nothing(
    finished: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "planted"
    package.mkdir()
    (package / "planted.py").write_text(f"open({str(tmp_path / 'exploded')!r}, 'w')\ndef network(*_, **__): ...\n")
    monkeypatch.syspath_prepend(str(package))
    results, store = simulated_results.simulated(), Store(str(tmp_path / "runs"))
    assert results.winner is not None
    point = SweepPoint.of({"student.model.name": "planted:network"})
    replace(results, winner=replace(results.winner, point=point)).write(store)
    with pytest.raises(UserError, match="answer another file; run it again"):
        export(tmp_path / "to", CONFIG, store)
    assert not (tmp_path / "exploded").exists()


def test_a_study_without_winner_or_results_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(UserError, match="holds no results of it"):
        export(tmp_path / "to", CONFIG, store)
    replace(simulated_results.simulated(), winner=None).write(store)
    with pytest.raises(UserError, match="has no winner"):
        export(tmp_path / "to", CONFIG, store)


@pytest.mark.parametrize("broken", ["student.json", "student.safetensors"])
def test_a_damaged_folder_is_refused_in_one_line(broken: str, shipped: Path, tmp_path: Path) -> None:
    for name in ("student.json", "student.safetensors"):
        (tmp_path / name).write_bytes((shipped / name).read_bytes())
    (tmp_path / broken).write_bytes((shipped / broken).read_bytes()[:40])
    with pytest.raises(UserError):
        load_student(tmp_path)
