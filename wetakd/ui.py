"""MLflow's pages for one study: a server on loopback where the store is a local file, and the link into it."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import quote

HOST = "127.0.0.1"


def link(base: str, experiment_id: str, study: str) -> str:
    """The runs of one study, flat (sorting by a metric unfolds the nesting), best first, as charts."""
    search = quote(f"tags.`wetakd.study` = '{study}' and tags.kind = 'trial'", safe="")
    order = quote("metrics.`student_choose_accuracy`", safe="")
    query = f"searchFilter={search}&orderByKey={order}&orderByAsc=false&compareRunsMode=CHART"
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs?{query}"


def serve(tracking_uri: str, port: int) -> subprocess.Popen[bytes]:
    """Start `mlflow server` on loopback over a local database; the caller ends it."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    # Job runners are for features that a study does not use; they would start eight more processes.
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.Popen(command, env=os.environ | quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
