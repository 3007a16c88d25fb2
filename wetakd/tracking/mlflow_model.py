"""One model at MLflow: a logged model of its own, an output of the run that made it, and a registered version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

_MODEL_TAG = "wetakd.model"


def send_model(
    client: MlflowClient,
    folder: Path,
    *,
    experiment_id: str,
    run_id: str,
    name: str,
    digest: str,
    description: str,
    register_as: str | None,
) -> None:
    """Send the MLflow model in `folder`. What an earlier, broken-off attempt did is found by `digest` and completed."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    model = _find(client, experiment_id, run_id, digest)
    if model is None:
        tags = {_MODEL_TAG: digest, MLFLOW_RUN_NOTE: description}
        model = client.create_logged_model(experiment_id, name, source_run_id=run_id, tags=tags)
    if model.status != LoggedModelStatus.READY:
        _name_model_and_run(folder, model.model_id, run_id)
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    outputs = client.get_run(run_id).outputs
    if all(output.model_id != model.model_id for output in (outputs.model_outputs if outputs else ())):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    if register_as:
        _register(client, model, run_id, digest, description, register_as)


def _find(client: MlflowClient, experiment_id: str, run_id: str, digest: str) -> LoggedModel | None:
    found = client.search_logged_models([experiment_id], filter_string=f"tags.`{_MODEL_TAG}` = '{digest}'")
    return next((model for model in found if model.source_run_id == run_id), None)


def _name_model_and_run(folder: Path, model_id: str, run_id: str) -> None:
    """A saved model knows neither yet; a logged one says both in its MLmodel file."""
    from mlflow.models import Model

    model = Model.load(str(folder))
    model.model_id, model.run_id = model_id, run_id
    model.save(str(folder / "MLmodel"))


def _register(
    client: MlflowClient, model: LoggedModel, run_id: str, digest: str, description: str, register_as: str
) -> None:
    versions = client.search_model_versions(f"name = '{register_as}'")
    if any(version.tags.get(_MODEL_TAG) == digest and version.run_id == run_id for version in versions):
        return
    if not client.search_registered_models(f"name = '{register_as}'"):
        client.create_registered_model(register_as)
    # A server looks the model up itself; a database that we write directly would ask MLflow's global URI instead.
    is_server = client.tracking_uri.startswith("http")
    source = f"models:/{model.model_id}" if is_server else model.artifact_location
    client.create_model_version(
        register_as,
        source,
        run_id=run_id,
        tags={_MODEL_TAG: digest},
        description=description,
        model_id=model.model_id,
        await_creation_for=0,
    )
