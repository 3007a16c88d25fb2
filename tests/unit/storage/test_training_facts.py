"""The facts of a network, through a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from wetakd.storage.atomic_store import Store
from wetakd.storage.training_facts import TrainingFacts, TrainingProvenance
from wetakd.training.epoch import Epoch

TRAINED = TrainingFacts(
    epochs=(Epoch(1, 0.5, 0.1, 0.75, 0.25, 1.5),),
    train_seconds=1.5,
    parameters=10,
    macs=20,
    data="abc",
    provenance=TrainingProvenance(3, "float32", "2.0", "2.1", "x86_64 AVX2 cpu"),
)
IMPORTED = TrainingFacts((), 0.0, None, None, "abc")


@pytest.mark.parametrize("facts", [TRAINED, IMPORTED])
def test_facts_are_the_same_after_a_commit(tmp_path: Path, facts: TrainingFacts) -> None:
    manifest = Store(str(tmp_path)).commit("networks/k", {}, facts.to_dict())
    assert TrainingFacts.from_manifest(manifest) == facts


def test_the_stored_names_are_flat_and_imports_have_no_provenance() -> None:
    common = ["epochs", "train_seconds", "parameters", "macs", "data"]
    assert list(TRAINED.to_dict()) == [*common, "seed", "precision", "torch", "numpy", "hardware"]
    assert list(IMPORTED.to_dict()) == common
