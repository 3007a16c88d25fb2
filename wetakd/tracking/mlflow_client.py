"""A client of MLflow that logs and prints nothing itself, its experiment, and which of its errors are final."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wetakd.common.process_state import set_default_variables, set_level
from wetakd.tracking.tracking_uri import sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

# Answers that would come again however often we ask: a run that somebody deleted, a value that MLflow refuses.
_FINAL_CODES = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS")
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Its own retries repeat a creation that may have happened; ours look first.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}


def connect(tracking_uri: str) -> MlflowClient:
    """A client that is quiet and tries nothing twice."""
    import_mlflow()
    silence_mlflow()
    return new_client(tracking_uri)


def import_mlflow() -> None:
    """An import sets the levels of MLflow's loggers, so it comes before `silence_mlflow`."""
    set_default_variables(_QUIET)  # MLflow reads some of them when it is imported
    import mlflow  # noqa: F401


def new_client(tracking_uri: str) -> MlflowClient:
    """Over a new SQLite file this creates its tables, which MLflow logs."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def silence_mlflow() -> None:
    """What MLflow would log, wetakd raises or logs itself."""
    for name in ("mlflow", "mlflow.store", "alembic"):
        set_level(name, logging.CRITICAL)


def find_or_create_experiment(client: MlflowClient, name: str, tracking_uri: str) -> str:
    """Find or make the experiment; the artifacts of a SQLite store lie beside its file."""
    found = client.get_experiment_by_name(name)
    if found is None:
        database = sqlite_file(tracking_uri)
        root = (database.parent / "mlartifacts").as_uri() if database else None
        return str(client.create_experiment(name, artifact_location=root))
    if found.lifecycle_stage != "active":
        raise RuntimeError(f"experiment {name!r} was deleted: restore it, or choose another mlflow.experiment")
    return str(found.experiment_id)


def is_final(error: MlflowException, tracking_uri: str) -> bool:
    """Whether the answer is MLflow's own (a proxy may say 404 for a minute, too) and would always be the same."""
    from mlflow.exceptions import RestException

    own = isinstance(error, RestException) or not tracking_uri.startswith("http")
    return error.error_code == "INVALID_PARAMETER_VALUE" or (own and error.error_code in _FINAL_CODES)
