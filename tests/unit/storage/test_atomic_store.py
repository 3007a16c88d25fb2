"""Files and folders on storage: listed, deleted and refused."""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from wetakd.common.errors import UserError
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import Lease
from wetakd.storage.manifest import MANIFEST


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "runs"))


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
    filesystem, path = store.filesystem_at("train")
    assert filesystem.open_input_file(f"{path}/a").read() == b"1"
    filesystem, path = Store("s3://key:secret@bucket/x/?region=us-east-1&scheme=http").filesystem_at("train")
    assert path == "bucket/x/train"
    assert "secret" not in f"{filesystem!r}"
    with pytest.raises(UserError):
        store.filesystem_at("../train")


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
