"""Which MLflow a study talks to, and whether it answers: said at the start, in one line. Imports no MLflow."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

from wetakd.common.errors import UserError, one_line
from wetakd.common.redact import redact
from wetakd.storage.atomic_store import Store

_FIELD = "mlflow.tracking_uri"
_TIMEOUT_S = 5.0
_SQLITE = "sqlite:///"
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PROBE = "/api/2.0/mlflow/experiments/search"


def resolve_tracking_uri(tracking_uri: str | None, store: Store) -> str:
    """`tracking_uri`, or SQLite beside a local storage; raises UserError where the storage is not local."""
    if tracking_uri:
        return tracking_uri
    if not store.is_local:
        raise UserError(
            f"{_FIELD}: is not set, and storage {store.redacted_uri!r} is no local folder to put MLflow's SQLite into; "
            "give the URI of an MLflow server, or set mlflow.enabled: false"
        )
    return f"{_SQLITE}{store.local_path}/mlflow.db"


def sqlite_file(tracking_uri: str) -> Path | None:
    """The database file of a SQLite URI, absolute; None for any other URI."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    return Path(tracking_uri.removeprefix(_SQLITE).partition("?")[0]).absolute()


def check_tracking_uri(tracking_uri: str) -> None:
    """Raise UserError unless an MLflow server or database answers; a missing SQLite folder is made."""
    scheme, colon, _ = tracking_uri.partition(":")
    if scheme.startswith("databricks"):
        return
    if not colon:
        scheme = "file"
    if scheme in ("http", "https"):
        _check_server(tracking_uri)
    elif scheme == "sqlite":
        _check_sqlite(tracking_uri)
    elif scheme.partition("+")[0] in _PORTS:
        _check_database(tracking_uri)
    elif scheme == "file":
        raise UserError(
            f"{_FIELD}: {redact(tracking_uri)!r} is a folder of files, which MLflow no longer writes; "
            f"use a database instead, such as {_SQLITE}runs/mlflow.db"
        )
    else:
        raise UserError(f"{_FIELD}: {redact(tracking_uri)!r} must be http(s)://host:port, {_SQLITE}file or a database")


def innermost_reason(error: BaseException) -> str:
    """The innermost reason of a chain such as requests raises, without object addresses and pool jargon."""
    while (inner := getattr(error, "reason", None) or error.__cause__ or error.__context__) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    return str(error) or type(error).__name__


def _check_server(tracking_uri: str) -> None:
    import requests

    secure: bool | str = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        secure = False
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{part}") for part in ("USERNAME", "PASSWORD"))
    try:
        answer = requests.get(
            tracking_uri.rstrip("/") + _PROBE,
            params={"max_results": "1"},
            auth=(user, password) if user and password else None,
            headers={"Authorization": f"Bearer {token}"} if token and not user else None,
            timeout=_TIMEOUT_S,
            verify=secure,
        )
    except (requests.RequestException, ValueError) as error:
        raise unreachable(tracking_uri, innermost_reason(error)) from None
    if answer.status_code in (401, 403):
        raise UserError(
            f"{_FIELD}: {redact(tracking_uri)!r} refuses us ({answer.status_code} {one_line(answer.text, 80)}); set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the server's --allowed-hosts"
        )
    if answer.status_code != 200 or not answer.text.lstrip().startswith("{"):
        raise unreachable(tracking_uri, f"{answer.status_code} {answer.reason}")


def _check_sqlite(tracking_uri: str) -> None:
    path = sqlite_file(tracking_uri)
    if path is None:
        raise UserError(f"{_FIELD}: {tracking_uri!r} must name a file, such as {_SQLITE}runs/mlflow.db")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_TIMEOUT_S)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise unreachable(tracking_uri, str(error)) from None


def _check_database(tracking_uri: str) -> None:
    parts = urlsplit(tracking_uri)
    kind = parts.scheme.partition("+")[0]
    try:
        address = (parts.hostname or "localhost", parts.port or _PORTS[kind])
        socket.create_connection(address, timeout=_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        raise unreachable(tracking_uri, str(error)) from None
    import sqlalchemy

    try:
        sqlalchemy.create_engine(tracking_uri).connect().close()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise unreachable(tracking_uri, str(error)) from None


def unreachable(tracking_uri: str, reason: str) -> UserError:
    """What to raise where there is no MLflow, with the `reason` that somebody gave, credentials and all."""
    return UserError(
        f"{_FIELD}: {redact(tracking_uri)!r} does not answer as MLflow ({redact(reason, tracking_uri)}); start "
        "it, correct the URI, or set mlflow.enabled: false"
    )
