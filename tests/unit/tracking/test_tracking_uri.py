"""The tracking URI, on real sockets and servers: whatever does not answer as MLflow is said in one line."""

from __future__ import annotations

import socket
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.ports import free_port
from wetakd.common.errors import UserError
from wetakd.storage.atomic_store import Store
from wetakd.tracking.tracking_uri import check_tracking_uri, resolve_tracking_uri


def test_the_default_is_sqlite_beside_a_local_storage(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert resolve_tracking_uri(None, store) == f"sqlite:///{store.uri}/mlflow.db"
    assert resolve_tracking_uri("http://host:5000", store) == "http://host:5000"
    with pytest.raises(UserError, match=r"mlflow\.tracking_uri: is not set") as caught:
        resolve_tracking_uri(None, Store("s3://a:s3cr3t@bucket/x?region=us-east-1"))
    assert "s3cr3t" not in str(caught.value)


def test_sqlite_gets_its_folder(tmp_path: Path) -> None:
    check_tracking_uri(f"sqlite:///{tmp_path}/a/b/mlflow.db")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "not.db").write_text("this is no database, but long enough to be mistaken for one" * 50)
    with pytest.raises(UserError, match=r"does not answer .*not a database"):
        check_tracking_uri(f"sqlite:///{tmp_path}/not.db")
    with pytest.raises(UserError, match="does not answer"):
        check_tracking_uri(f"sqlite:///{tmp_path}/not.db/mlflow.db")
    sqlite3.connect(tmp_path / "good.db").close()
    check_tracking_uri(f"sqlite:///{tmp_path}/good.db")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:///tmp/mlruns", "sqlite:///runs/mlflow.db"),
        ("mlruns", "sqlite:///runs/mlflow.db"),
        ("ftp://u:s3cr3t@host/x", "must be http"),
        ("sqlite://", "must name a file"),
        ("http://u:s3cr3t@127.0.0.1:{port}", "does not answer .*refused"),
        ("http://u:s3cr3t@no-such-host.invalid:5000", "does not answer"),
        ("postgresql://u:s3cr3t@127.0.0.1:{port}/mlflow", "does not answer .*refused"),
        ("mysql+pymysql://u:s3cr3t@127.0.0.1:{port}/mlflow", "does not answer .*refused"),
    ],
)
@pytest.mark.timeout(60)
def test_what_does_not_answer_is_said_in_one_line(uri: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        check_tracking_uri(uri.format(port=free_port()))
    message = str(caught.value)
    assert message.startswith("mlflow.tracking_uri: ")
    assert "\n" not in message
    assert "s3cr3t" not in message


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, '{"experiments": []}', None),
        (200, "<html>a web page</html>", "does not answer as MLflow"),
        (404, "nothing here", "404"),
        (500, "{}", "500"),
        (401, "You are not authenticated", "MLFLOW_TRACKING_USERNAME"),
        (403, "Invalid Host header - possible DNS rebinding attack detected", "--allowed-hosts"),
    ],
)
def test_a_server_must_answer_as_mlflow(status: int, body: str, expected: str | None) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        if expected is None:
            check_tracking_uri(f"http://127.0.0.1:{server.server_port}/")
            return
        with pytest.raises(UserError, match=expected) as caught:
            check_tracking_uri(f"http://127.0.0.1:{server.server_port}/")
        assert "\n" not in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.timeout(60)
def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wetakd.tracking.tracking_uri._TIMEOUT_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UserError, match=r"does not answer .*timed out"):
            check_tracking_uri(f"http://127.0.0.1:{silent.getsockname()[1]}")
