"""Checkpoints on storage: the newest counts, and one that is torn is passed over."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.damaged_bytes import damage
from wetakd.storage.atomic_store import Store
from wetakd.storage.stored_checkpoints import StoredCheckpoints


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


def test_the_newest_checkpoint_counts_and_old_ones_go(store: Store) -> None:
    checkpoints = StoredCheckpoints.at(store, "networks/k")
    assert checkpoints.load() is None
    for epoch in range(12):
        StoredCheckpoints.at(store, "networks/k").save(f"epoch {epoch}".encode())
    assert checkpoints.load() == b"epoch 11"
    assert len(store.list("networks/k")) == 2
    checkpoints.clear()
    assert checkpoints.load() is None
    assert store.list("networks/k") == []


@settings(deadline=None, max_examples=100)
@given(data=st.data(), state=st.binary(max_size=100))
def test_a_torn_checkpoint_is_passed_over(data: st.DataObject, state: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        checkpoints = StoredCheckpoints(store, "networks/k/checkpoints")
        checkpoints.save(state)
        checkpoints.save(b"newer" + state)
        newest = store.list("networks/k")[-1]
        store.write(newest, damage(store.read_file(newest) or b"", data))
        assert checkpoints.load() == state
