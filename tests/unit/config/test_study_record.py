"""The study file as storage keeps it, and the credentials that it must not have."""

from __future__ import annotations

import pytest

from wetakd.common.errors import UserError
from wetakd.config.study_file import config_from_tree, load_study_file
from wetakd.config.study_record import check_credentials, dump_record, load_record, recorded_tree


def test_the_record_is_the_file_with_its_defaults() -> None:
    config = load_study_file(None, ["student.model.options.placement=3", "study.seeds=2"])
    tree = load_record(dump_record(config))
    assert tree == recorded_tree(config) == config.model_dump(mode="json")
    assert config_from_tree(tree) == config


def test_a_damaged_record_is_none() -> None:
    raw = dump_record(load_study_file(None))
    assert load_record(None) is None
    assert load_record(raw[:-1]) is None
    assert load_record(raw.replace(b'"seed": 0', b'"seed": 1')) is None


@pytest.mark.parametrize(
    ("override", "instead"),
    [
        ("storage=s3://me:secret@bucket/x", "give the whole URI in WETAKD_STORAGE, or set AWS_ACCESS_KEY_ID"),
        ("storage=gs://bucket/x?access_token=secret", "WETAKD_STORAGE, or set GOOGLE_APPLICATION_CREDENTIALS"),
        ("mlflow.tracking_uri=http://me:secret@host", "MLFLOW_TRACKING_URI, or set MLFLOW_TRACKING_USERNAME"),
        ("student.model.options.weights=s3://bucket/x?X-Amz-Signature=secret", "set AWS_ACCESS_KEY_ID"),
        ("student.model.options.weights=http://host/x?sig=secret", "remove them"),
    ],
)
def test_credentials_in_a_file_are_refused_and_the_message_names_what_to_use(override: str, instead: str) -> None:
    with pytest.raises(UserError) as caught:
        load_study_file(None, [override])
    message = str(caught.value)
    assert message.startswith(f"{override.partition('=')[0]}: has credentials in it")
    assert instead in message
    assert "secret" not in message


def test_anonymous_access_is_allowed() -> None:
    check_credentials(load_study_file(None, ["storage=s3://anonymous@bucket/x"]))


def test_uris_of_the_environment_are_used_and_never_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WETAKD_STORAGE", "s3://me:secret@bucket/x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@host")
    config = load_study_file(None)
    check_credentials(config)
    assert config.storage == "s3://me:secret@bucket/x"
    raw = dump_record(config)
    assert b"secret" not in raw
    assert config.differences(load_record(raw) or {}) == []
    assert config_from_tree(load_record(raw)).mlflow.tracking_uri is None
