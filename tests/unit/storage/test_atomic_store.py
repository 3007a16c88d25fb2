"""Storage: what was committed is found whole, or not at all."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wetakd.common.errors import UserError
from wetakd.storage.atomic_store import Damaged, Store
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


# --------------------------------------------------------------------------------------------------------- commits


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


def test_the_last_commit_wins_and_both_leave_their_blobs_whole(store: Store) -> None:
    first = store.commit("networks/k", {"x": b"first"}, {"n": 1})
    second = store.commit("networks/k", {"x": b"second"}, {"n": 2})
    assert store.find("networks/k") == second
    assert store.read(first, "x").to_pybytes() == b"first"
    assert store.strays("networks/k", older_than_s=3600) == []
    assert store.strays("networks/k", older_than_s=-1) == [f"networks/k/{first.blobs['x'].path}"]


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
    paths["manifest"].write_bytes(_damage(manifest, data))
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
    damaged = _damage(blob, data)
    paths["weights"].write_bytes(damaged)
    found = store.find("networks/k")
    if len(damaged) != len(blob):
        assert found is None
        return
    assert found is not None
    with pytest.raises(Damaged, match="networks/k"):
        store.read(found, "weights.bin")


def _damage(content: bytes, data: st.DataObject) -> bytes:
    at = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["cut", "flip", "insert"])):
        case "cut":
            return content[:at]
        case "flip":
            return content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    return content[:at] + data.draw(st.binary(min_size=1, max_size=3)) + content[at:]


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
    with pytest.raises(Damaged):
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
    body = {"address": "networks/k", "blobs": {"x": reference}, "facts": {}}
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
    with pytest.raises(Damaged):
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


# ------------------------------------------------------------------------------------------------- plain files, paths


def test_files_are_listed_measured_and_deleted(store: Store) -> None:
    for path in ["networks/b/x", "networks/a/deep/y", "networks/a/z", "other"]:
        store.write(path, b"12345")
    assert store.list("networks") == ["networks/a/deep/y", "networks/a/z", "networks/b/x"]
    assert store.list() == [*store.list("networks"), "other"]
    assert store.addresses("networks") == ["networks/a", "networks/b"]
    assert store.size("networks") == 15
    assert store.size() == 20
    assert store.size("other") == 5
    assert store.size("nothing") == 0
    store.delete("networks/a")
    store.delete("other")
    store.delete("never/there")
    assert store.list() == ["networks/b/x"]
    assert store.list("nothing") == []
    assert not Path(store.uri, "networks/a").exists()
    assert store.read_file("networks/a/z") is None
    assert store.read_file("networks/b") is None


def test_folders_are_listed_without_what_is_in_them(store: Store, tmp_path: Path) -> None:
    assert store.folders("studies") == []
    for path in ("studies/b/deep/er/x", "studies/a/y", "studies/z"):
        store.write(path, b"1")
    (tmp_path / "disk").mkdir()
    Path(store.uri, "studies/linked").symlink_to(tmp_path / "disk")
    assert store.folders("studies") == ["studies/a", "studies/b", "studies/linked"]


def test_to_delete_never_follows_a_link_out_of_the_storage(store: Store, tmp_path: Path) -> None:
    (tmp_path / "precious/deep").mkdir(parents=True)
    for path in ("precious/x", "precious/deep/y"):
        (tmp_path / path).write_bytes(b"x")
    manifest = store.commit("networks/real", {"a": b"1"}, {})
    for link in ("networks/folder", "networks/real/checkpoints", f"networks/real/{MANIFEST}.old"):
        Path(store.uri, link).symlink_to(tmp_path / "precious")
    Path(store.uri, "networks/file").symlink_to(tmp_path / "precious/x")
    for path in ("networks/folder", "networks/file", f"networks/real/{manifest.blobs['a'].path}", "networks/real"):
        store.delete(path)
    assert store.list("networks") == []
    assert not list(Path(store.uri, "networks").iterdir())
    assert (tmp_path / "precious/x").exists()
    assert (tmp_path / "precious/deep/y").exists()


def test_folders_may_lie_on_another_disk(store: Store, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    Path(store.uri).mkdir()
    Path(store.uri, "bank").symlink_to(tmp_path / "disk")
    store.commit("bank/k", {"x": b"abc"}, {})
    assert [path.rpartition("/")[0] for path in store.list("bank")] == ["bank/k"] * 2
    assert store.addresses("bank") == ["bank/k"]
    store.delete("bank/k")
    assert not list((tmp_path / "disk").iterdir())


def test_links_in_a_circle_are_listed_once(store: Store) -> None:
    store.write("networks/a/x", b"1")
    for name in ("one", "two", "three"):
        Path(store.uri, "networks", name).symlink_to("..")
    assert store.list() == ["networks/a/x"]
    assert store.size() == 1


def test_what_is_no_file_is_none_and_waited_for_by_nobody(store: Store) -> None:
    store.write("studies/s/x", b"")
    os.mkfifo(Path(store.uri, "studies/s/lease.json"))
    Path(store.uri, "studies/s/summary.json").symlink_to("/dev/zero")
    assert store.read_file("studies/s/lease.json") is None
    assert store.read_file("studies/s/summary.json") is None
    assert store.list("studies") == ["studies/s/x"]


@pytest.mark.parametrize(
    "path", ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a\\..\\b", "a\0b", "./a", "a/", "a\nb"]
)
def test_no_path_leaves_the_root(store: Store, path: str) -> None:
    for action in (store.read_file, store.delete, store.find, lambda p: store.write(p, b""), store.addresses):
        with pytest.raises(UserError, match="within the storage"):
            action(path)
    with pytest.raises(UserError), Lease(store, f"studies/{path}/lease.json"):
        pass


def test_a_store_pickles_as_its_uri(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = pickle.loads(pickle.dumps(Store("runs")))
    relative.write("a", b"1")
    assert (tmp_path / "runs" / "a").read_bytes() == b"1"
    by_uri = Store(f"file://{tmp_path}/with%20space/")
    by_uri.write("a/b", b"2")
    assert (tmp_path / "with space" / "a" / "b").read_bytes() == b"2"
    assert by_uri.is_local
    assert not Store("s3://bucket/x?region=us-east-1").is_local


def test_what_writes_a_folder_itself_gets_the_file_system_and_no_credentials(store: Store) -> None:
    store.write("train/a", b"1")
    filesystem, path = store.opened("train")
    assert filesystem.open_input_file(f"{path}/a").read() == b"1"
    filesystem, path = Store("s3://key:secret@bucket/x/?region=us-east-1&scheme=http").opened("train")
    assert path == "bucket/x/train"
    assert "secret" not in f"{filesystem!r}"
    with pytest.raises(UserError):
        store.opened("../train")


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3://", "mock://x", "a\0b", "s3://bucket/x?no_such=1"])
def test_what_cannot_be_opened_is_one_line(uri: str) -> None:
    with pytest.raises(UserError, match="storage: ") as caught:
        Store(uri)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"storage: .*file/runs.* cannot be written") as caught:
        Store(str(tmp_path / "file" / "runs")).check_writable()
    assert "\n" not in str(caught.value)
    good = Store(str(tmp_path / "good"))
    good.check_writable()
    assert good.list() == []


def test_a_storage_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    Store(str(tmp_path / "not there yet")).check_readable()
    (tmp_path / "file").write_text("in the way")
    with closed_bucket() as endpoint:
        bucket = f"s3://AKIA123:s3cr3t@bucket/x?endpoint_override={endpoint}&scheme=http&region=us-east-1"
        for uri in (str(tmp_path / "file"), bucket):
            with pytest.raises(UserError, match=r"storage: .*(file|bucket/x).* cannot be read") as caught:
                Store(uri).check_readable()
            assert "\n" not in str(caught.value)
            assert "s3cr3t" not in str(caught.value)


@contextmanager
def closed_bucket() -> Iterator[str]:
    """Host and port of a server that lets nobody look into a bucket."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIA123:s3cr3t@bucket/folder?region=us-east-1",
        "s3://AKIA123:s3/cr3t@bucket/folder?region=us-east-1",
        "s3://bucket/folder?region=us-east-1&access_key=AKIA123&secret_key=s3cr3t",
        "s3://bucket/folder?region=us-east-1&session_token=s3cr3t",
        "s3://bucket/folder?sig=s3cr3t&region=us-east-1",
        "s3://bucket/folder?region=us-east-1&endpoint_override=AKIA123:s3cr3t@localhost:9&scheme=http",
    ],
)
def test_credentials_never_show(uri: str) -> None:
    texts = []
    try:
        store = Store(uri)
        texts += [store.redacted_uri, repr(store)]
        assert store.uri == uri
    except UserError as error:
        texts.append(str(error))
    for text in texts:
        assert "bucket/folder" in text
        assert not any(secret in text for secret in ("AKIA123", "s3cr3t", "cr3t"))


# ------------------------------------------------------------------------------------------------------ checkpoints


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
        store.write(newest, _damage(store.read_file(newest) or b"", data))
        assert checkpoints.load() == state


def test_folders_that_come_and_go_while_they_are_listed_are_no_error(store: Store) -> None:
    stop = threading.Event()

    def churn() -> None:
        for number in itertools.cycle(range(5)):
            store.write(f"networks/{number}/checkpoints/a", b"x")
            store.delete(f"networks/{(number + 2) % 5}")
            if stop.is_set():
                return

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            assert len(store.list("networks/1")) <= 1
    finally:
        stop.set()
        thread.join()
