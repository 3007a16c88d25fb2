"""The study file that a study was run with, as storage keeps it: canonical JSON, without what the environment gives."""

from __future__ import annotations

import os
from typing import Any

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.common.errors import UserError
from wetakd.common.leaves import leaves, texts_in
from wetakd.common.redact import has_credentials
from wetakd.config.study_config import StudyConfig

ENVIRONMENT = {"storage": "WETAKD_STORAGE", "mlflow.tracking_uri": "MLFLOW_TRACKING_URI"}
"""The environment variables that stand above a field of the file, by field."""

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}


def recorded_tree(config: StudyConfig) -> dict[str, Any]:
    """The file as plain data with its defaults. URIs that come from the environment are left out."""
    tree = config.model_dump(mode="json")
    for field in ENVIRONMENT:
        if _is_from_environment(field, leaves(tree).get(field)):
            *blocks, name = field.split(".")
            block = tree
            for part in blocks:
                block = block[part]
            del block[name]
    return tree


def dump_record(config: StudyConfig) -> bytes:
    """The file for the record; `load_record` reads it."""
    return dump_with_digest(recorded_tree(config))


def load_record(raw: bytes | None) -> dict[str, Any] | None:
    """What `dump_record` wrote, as plain data; None where there is none or it is damaged."""
    try:
        return load_with_digest(raw or b"")
    except ValueError:
        return None


def check_credentials(config: StudyConfig) -> None:
    """Raise UserError for credentials in the file, which is recorded and shown; the environment may have them."""
    for field, value in leaves(config.model_dump(mode="json")).items():
        for text in texts_in(value):
            if has_credentials(text) and not _is_from_environment(field, text):
                raise UserError(f"{field}: has credentials in it, which would be recorded; {_instead(field, text)}")


def _is_from_environment(field: str, value: Any) -> bool:
    return field in ENVIRONMENT and value is not None and os.environ.get(ENVIRONMENT[field]) == value


def _instead(field: str, text: str) -> str:
    variables = _CREDENTIALS.get(text.partition("://")[0])
    if field == "mlflow.tracking_uri":
        variables = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    whole = f"give the whole URI in {ENVIRONMENT[field]}" if field in ENVIRONMENT else ""
    parts = f"set {variables}" if variables else ""
    return ", or ".join(part for part in (whole, parts) if part) or "remove them"
