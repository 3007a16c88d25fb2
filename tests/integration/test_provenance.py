"""Results know what they came from: two studies share a storage, and a student is trained again with other weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.numpy import load, save

from tests.integration.small_study import results, study
from wetakd import Study
from wetakd.commands.export import export_winner
from wetakd.common.canonical_json import load_with_digest
from wetakd.common.errors import UserError
from wetakd.common.progress import QuietReporter
from wetakd.export.student_files import Formats
from wetakd.storage.addresses import WEIGHTS_BLOB, student_address
from wetakd.storage.atomic_store import Store

FORMATS = Formats(onnx=False, int8=False)


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file of a study but those that each driver changes."""
    changing = ("sessions", "journal", "lease.json", "tmp")
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in paths
        if path.relative_to(folder).parts[0] not in changing
    }


def retrain_with_other_bytes(store: Store, key: str) -> str:
    """Damage a student and commit it again with other weights, as a device that is not deterministic would."""
    manifest = store.find(student_address(key))
    assert manifest is not None
    weights = load(store.read(manifest, WEIGHTS_BLOB).to_pybytes())
    other = save({name: array * 1.5 if array.dtype.kind == "f" else array for name, array in weights.items()})
    store.delete(manifest.address)
    again = store.commit(manifest.address, {WEIGHTS_BLOB: other}, manifest.facts, manifest.payload)
    return again.blobs[WEIGHTS_BLOB].sha256


def test_a_student_that_is_trained_again_never_meets_the_evaluation_of_its_former_weights(
    finished: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, first = finished
    shutil.copytree(folder / "runs", tmp_path / "runs")
    store, mine = Store(str(tmp_path / "runs")), tmp_path / "runs" / "studies" / "small"
    key = first.winner.student_key
    digest = retrain_with_other_bytes(store, key)
    before, evaluations = files(mine), set(store.addresses("evaluations"))

    # Another study of the same question evaluates the new weights, and touches nothing of the first.
    other_config = study(tmp_path, study={**study(tmp_path).study.model_dump(mode="json"), "name": "other"})
    other = Study(other_config).run()
    assert (other.num_networks_trained, other.num_students_trained) == (0, 0)
    assert files(mine) == before
    assert set(store.addresses("evaluations")) > evaluations
    changed = other.table["student_key"] == key
    assert set(other.table[changed]["student_digest"]) == {digest}
    assert set(first.table[first.table["student_key"] == key]["student_digest"]) != {digest}
    pd.testing.assert_frame_equal(
        results(other.table[~changed]),
        results(first.table[first.table["student_key"] != key]),
    )

    # The first study's table describes weights that are gone: they are not shipped under its name.
    with pytest.raises(UserError, match=rf"student {key}: was trained again, .* run the study again"):
        export_winner(study(tmp_path), store, tmp_path / "out", FORMATS, QuietReporter())
    again = Study(study(tmp_path)).run()
    assert (again.num_networks_trained, again.num_students_trained) == (0, 0)
    pd.testing.assert_frame_equal(results(again.table), results(other.table))


def test_what_mlflow_shows_can_be_rebuilt_from_storage(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    mine = folder / "runs" / "studies" / "small"
    assert load_with_digest((mine / "id.json").read_bytes())["study_id"]
    sessions = [load_with_digest(path.read_bytes()) for path in sorted((mine / "sessions").iterdir())]
    assert sessions[0]["exit_status"] == 0
    assert sessions[0]["ended_ms"] > sessions[0]["started_ms"]
    assert (mine / "student" / "MLmodel").is_file()
    manifest = Store(str(folder / "runs")).find(student_address(result.winner.student_key))
    assert manifest is not None
    times = [epoch["ended_ms"] for epoch in manifest.facts["epochs"]]
    assert times == sorted(times)
    assert sessions[0]["started_ms"] <= times[0] <= times[-1] <= sessions[0]["ended_ms"]
