"""Commits to storage: what was committed is found whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.damaged_bytes import damage
from wetakd.storage.atomic_store import DamagedBlob, Store
from wetakd.storage.lease import Lease
from wetakd.storage.manifest import MANIFEST
from wetakd.storage.stored_checkpoints import StoredCheckpoints

FACTS = {"accuracy": 0.1 + 0.2, "epochs": 3, "name": "ta", "none": None, "list": [1, 2.5]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


def files(store: Store, address: str) -> dict[str, Path]:
    """Local files of an address, by name without the attempt: `manifest`, `weights`, ..."""
    return {path.name.partition("-")[0].partition(".")[0]: path for path in Path(store.uri, address).glob("*.*")}


def test_what_was_committed_is_found_and_read(store: Store) -> None:
    big = os.urandom(300_000)
    written = store.commit("networks/k", {"weights.bin": big, "empty": b"", "t.arrow": pa.py_buffer(b"abc")}, FACTS)
    found = Store(store.uri).find("networks/k")
    assert found == written
    assert found is not None
    assert found.facts == FACTS
    assert store.read(found, "weights.bin").to_pybytes() == big
    assert store.read(found, "empty").size == 0
    assert store.read(found, "t.arrow").to_pybytes() == b"abc"


def test_a_local_blob_is_mapped_and_cannot_be_written(store: Store) -> None:
    manifest = store.commit("networks/k", {"x": b"a" * 10_000}, {})
    before = pa.total_allocated_bytes()
    content = store.read(manifest, "x")
    assert pa.total_allocated_bytes() == before
    assert not content.is_mutable


def test_nothing_committed_is_none(store: Store) -> None:
    assert store.find("networks/none") is None
    store.write("networks/torn/weights-1234.bin", b"left by a killed writer")
    assert store.find("networks/torn") is None


def test_the_first_commit_stays_until_it_is_damaged(store: Store) -> None:
    first = store.commit("networks/k", {"x": b"first"}, {"n": 1}, {"kind": "network"})
    assert store.commit("networks/k", {"x": b"second"}, {"n": 2}) == store.find("networks/k") == first
    assert first.payload == {"kind": "network"}
    assert store.read(first, "x").to_pybytes() == b"first"
    store.write(f"networks/k/{first.blobs['x'].path}", b"cut")
    second = store.commit("networks/k", {"x": b"second"}, {"n": 2})
    assert store.find("networks/k") == second
    assert store.unnamed_files("networks/k", older_than_s=3600) == []
    assert store.unnamed_files("networks/k", older_than_s=-1) == [f"networks/k/{first.blobs['x'].path}"]


def test_the_name_of_a_blob_depends_on_its_content_alone(store: Store) -> None:
    one, two = (store.commit(f"networks/{key}", {"x.bin": b"same"}, {}) for key in "ab")
    assert one.blobs == two.blobs
    assert store.commit("networks/c", {"x.bin": b"other"}, {}).blobs["x.bin"].path != one.blobs["x.bin"].path


@pytest.fixture(scope="module")
def committed() -> tuple[str, bytes, bytes]:
    """Folder, manifest bytes and blob bytes of one commit, which the property tests then damage."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.commit("networks/k", {"weights.bin": bytes(range(256)) * 2}, FACTS)
        paths = files(store, "networks/k")
        yield folder, paths["manifest"].read_bytes(), paths["weights"].read_bytes()


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_cut_or_flipped_manifest_is_never_accepted(committed: tuple[str, bytes, bytes], data: st.DataObject) -> None:
    folder, manifest, blob = committed
    store = Store(folder)
    paths = files(store, "networks/k")
    paths["weights"].write_bytes(blob)
    paths["manifest"].write_bytes(damage(manifest, data))
    assert store.find("networks/k") is None
    paths["manifest"].write_bytes(manifest)
    assert store.find("networks/k") is not None


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_cut_or_flipped_blob_is_never_accepted(committed: tuple[str, bytes, bytes], data: st.DataObject) -> None:
    folder, manifest, blob = committed
    store = Store(folder)
    paths = files(store, "networks/k")
    paths["manifest"].write_bytes(manifest)
    damaged = damage(blob, data)
    paths["weights"].write_bytes(damaged)
    found = store.find("networks/k")
    if len(damaged) != len(blob):
        assert found is None
        return
    assert found is not None
    with pytest.raises(DamagedBlob, match="networks/k"):
        store.read(found, "weights.bin")


def test_what_is_damaged_is_deleted_to_be_built_again(store: Store) -> None:
    manifest = store.commit("networks/k", {"x": b"abc", "y": b"d"}, {})
    assert store.find_intact("networks/k") == manifest
    store.write(f"networks/k/{manifest.blobs['y'].path}", b"e")
    assert store.find("networks/k") == manifest
    assert store.find_intact("networks/k") is None
    assert store.list("networks/k") == []
    assert store.find_intact("networks/k") is None


def test_a_missing_blob_is_noticed(store: Store) -> None:
    manifest = store.commit("networks/k", {"x": b"abc", "y": b"d"}, {})
    store.delete(f"networks/k/{manifest.blobs['x'].path}")
    assert store.find("networks/k") is None
    with pytest.raises(DamagedBlob):
        store.read(manifest, "x")


def test_a_manifest_speaks_for_its_own_address_only(store: Store) -> None:
    store.commit("networks/a", {}, {"n": 1})
    raw = store.read_file(f"networks/a/{MANIFEST}")
    assert raw is not None
    store.write(f"networks/b/{MANIFEST}", raw)
    assert store.find("networks/b") is None


@pytest.mark.parametrize("path", ["../../secret", "/etc/hostname", "sub/secret", ".."])
def test_a_forged_manifest_cannot_point_elsewhere(store: Store, path: str) -> None:
    store.write("secret", b"s")
    store.write("networks/k/sub/secret", b"s")
    reference = {"path": path, "size": 1, "sha256": hashlib.sha256(b"s").hexdigest()}
    body = {"address": "networks/k", "blobs": {"x": reference}, "facts": {}, "payload": {}}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    store.write(f"networks/k/{MANIFEST}", json.dumps({"digest": digest, **body}, sort_keys=True, indent=1).encode())
    assert store.find("networks/k") is None


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["WETAKD_TEST_BOMB"],)


def test_a_planted_pickle_is_never_executed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WETAKD_TEST_BOMB", str(tmp_path / "exploded"))
    manifest = store.commit("networks/k", {"x": b"abc"}, {})
    bomb = pickle.dumps(_Bomb())
    for path in [f"networks/k/{manifest.blobs['x'].path}", "networks/k/checkpoints/00000009-aa.ckpt"]:
        store.write(path, bomb)
    with pytest.raises(DamagedBlob):
        store.read(manifest, "x")
    assert StoredCheckpoints.at(store, "networks/k").load() is None
    for path in [f"networks/k/{MANIFEST}", "studies/s/lease.json"]:
        store.write(path, bomb)
    assert store.find("networks/k") is None
    with Lease(store, "studies/s/lease.json"):
        pass
    assert not (tmp_path / "exploded").exists()


def test_a_killed_writer_leaves_no_half_file(store: Store) -> None:
    store.write("studies/s/summary.json", b"old" * 1_000_000)
    script = (
        "import sys, os, threading, time\n"
        "from wetakd.storage.atomic_store import Store\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), os._exit(9)), daemon=True).start()\n"
        "store = Store(sys.argv[1])\n"
        "while True: store.write('studies/s/summary.json', b'new' * 1_000_000)\n"
    )
    subprocess.run([sys.executable, "-c", script, store.uri], check=False)
    assert store.read_file("studies/s/summary.json") in (b"old" * 1_000_000, b"new" * 1_000_000)
    assert store.list("studies") == ["studies/s/summary.json"]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synced and renamed, in order: what a power failure would show. Names of attempts are cut."""
    calls: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        calls.append(("sync", "part" if path.suffix == ".part" else path.name))
        fsync(descriptor)

    def renamed(old: str, new: str) -> None:
        calls.append(("rename", Path(new).name.partition("-")[0]))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    return calls


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_next_file(
    store: Store, disk: list[tuple[str, str]]
) -> None:
    store.commit("networks/k", {"weights.bin": b"weights"}, {})
    new_folders = [("sync", Path(store.uri).parent.name), ("sync", "runs"), ("sync", "networks")]
    blob = [("sync", "part"), ("rename", "weights"), ("sync", "k")]
    manifest = [("sync", "part"), ("rename", MANIFEST), ("sync", "k")]
    assert disk == new_folders + blob + manifest
    disk.clear()
    StoredCheckpoints.at(store, "networks/k").save(b"state")
    assert disk == [("sync", "k"), ("sync", "part"), ("rename", "00000000"), ("sync", "checkpoints")]


def test_a_lease_needs_no_disk(store: Store, disk: list[tuple[str, str]]) -> None:
    with Lease(store, "studies/s/lease.json"):
        assert disk == [("rename", "lease.json")]
