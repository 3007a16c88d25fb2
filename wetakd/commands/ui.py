"""MLflow's pages for one study: a server on loopback where the store is a local database, and the link into it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from wetakd.commands.options import (
    EXIT_CODES,
    STORAGE_OPTION,
    STUDY_ARGUMENT,
    storage_at,
)
from wetakd.common.errors import UserError
from wetakd.common.redact import redact
from wetakd.tracking.mlflow_client import connect
from wetakd.tracking.run_identity import QUESTION_TAG, STUDY_ID_TAG
from wetakd.tracking.tracking_uri import check_tracking_uri, innermost_reason, unreachable

if TYPE_CHECKING:
    pass


HOST = "127.0.0.1"
_START_S = 120.0


def link(base: str, experiment_id: str, study_id: str, question: str) -> str:
    """The trials of one study, flat (sorting by a metric unfolds the nesting), best first, as charts."""
    which = f"tags.`{STUDY_ID_TAG}` = '{study_id}' and tags.`{QUESTION_TAG}` = '{question}' and tags.kind = 'trial'"
    search = quote(which, safe="")
    order = quote("metrics.`student_choose_accuracy`", safe="")
    query = f"searchFilter={search}&orderByKey={order}&orderByAsc=false&compareRunsMode=CHART"
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def show(
    tracking_uri: str, experiment: str, study_id: str, question: str, port: int, print_line: Callable[[str], None]
) -> None:
    """Print the link to a study; over a local database, serve it on loopback until interrupted.

    Raises UserError where the port is taken, or MLflow does not answer or does not know the experiment.
    """
    check_tracking_uri(tracking_uri)
    identity = _experiment_id(tracking_uri, experiment)
    if tracking_uri.startswith(("http://", "https://")):
        print_line(link(redact(tracking_uri), identity, study_id, question))
        return
    base = f"http://{HOST}:{port}"
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise UserError(f"--port: {port} is taken; pass another, such as --port {port + 1}")
    print_line(f"starting MLflow on {base} …")
    if threading.current_thread() is threading.main_thread():
        # Else SIGTERM would end us and leave the server behind.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    server = serve(tracking_uri, port)
    try:
        _wait(base, server)
        print_line(f"{link(base, identity, study_id, question)}\nCtrl-C ends it.")
        server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


def serve(tracking_uri: str, port: int) -> subprocess.Popen[bytes]:
    """Start `mlflow server` on loopback over a database; the caller ends it."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # Job runners are for features that a study does not use; they would start eight more processes.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # Else `python -m` searches the working directory first, here and where MLflow starts its own processes.
    safe = {"PYTHONSAFEPATH": "1"}
    # Not on the command line, which every user of this machine can read: the URI may hold a password.
    database = {"MLFLOW_BACKEND_STORE_URI": tracking_uri}
    return subprocess.Popen(
        command, env=os.environ | quiet | safe | database, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def answers(base: str) -> bool:
    """Whether MLflow's server on this machine is up; asked directly, whatever proxy the environment names."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{base}/health", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _wait(base: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while not answers(base):
        if time.monotonic() > deadline or server.poll() is not None:
            raise RuntimeError("MLflow's server did not start")
        time.sleep(0.3)


def _experiment_id(tracking_uri: str, experiment: str) -> str:
    try:
        found = connect(tracking_uri).get_experiment_by_name(experiment)
    except Exception as error:  # whatever MLflow raises: its traceback would show the URI
        raise unreachable(tracking_uri, innermost_reason(error)) from None
    if found is None:
        raise UserError(f"mlflow.experiment: {experiment!r} is not there yet; run the study first, or wetakd sync")
    return str(found.experiment_id)


@click.command(short_help="Open STUDY in MLflow.", epilog=EXIT_CODES)
@STUDY_ARGUMENT
@STORAGE_OPTION
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def ui(study: str, storage: str | None, port: int) -> None:
    """Open STUDY in MLflow: starts its pages on this machine alone and prints the link. Ctrl-C ends them.

    Where the study was tracked by a server, it only prints the link.

    \b
    Example:
      wetakd ui digits --port 5001
    """
    from wetakd.commands import ui as pages
    from wetakd.plan.stored_studies import read_study_config
    from wetakd.tracking.event_journal import study_id
    from wetakd.tracking.tracking_uri import resolve_tracking_uri

    store = storage_at(storage)
    config = read_study_config(store, study)
    tracking_uri = resolve_tracking_uri(config.mlflow.tracking_uri, store)
    if not config.mlflow.enabled:
        raise UserError(f"study {study!r}: was run with mlflow.enabled false, so there is nothing to open")
    identity = study_id(store, study)
    if identity is None:
        raise UserError(f"study {study!r}: has told MLflow nothing yet; run it first")
    pages.show(tracking_uri, config.mlflow.experiment, identity, config.question, port, click.echo)
