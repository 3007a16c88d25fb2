"""URIs: secrets do not show, and what is harmless does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wetakd.common.redact import has_credentials, redact

SECRET = st.text("abcdefXYZ0123456789+%=_", min_size=8, max_size=30)
# Signs that belong escaped into a URI, and that people leave as they are between ":" and "@".
# One that looks like the start of another URI cannot be told from it.
BOLD_SECRET = st.text("abXY09+/%=_,;!$&'()*[]{}|<>?#@:", min_size=8, max_size=30).filter(
    lambda secret: "://" not in f":{secret}"
)

HARMLESS = [
    "./runs",
    "/data/a@b:c",
    "file:///tmp/x",
    "s3://bucket/folder",
    "s3://bucket/me@home?region=us-east-1&endpoint_override=localhost:9000&scheme=http",
    "http://host:5000",
    "sqlite:////tmp/mlflow.db",
    "postgresql+psycopg://host:5432/db",
]


@pytest.mark.parametrize("uri", HARMLESS)
def test_what_is_harmless_shows_as_it_is_and_has_no_credentials(uri: str) -> None:
    assert redact(uri) == uri
    assert not has_credentials(uri)


@given(secret=SECRET)
def test_no_secret_shows(secret: str) -> None:
    for uri in (
        f"s3://AKIA1:{secret}@bucket/x?region=r",
        f"s3://bucket/x?secret_key={secret}",
        f"https://account.blob/x?sv=1&sig={secret}",
        f"https://bucket/x?X-Amz-Credential={secret}&X-Amz-Signature={secret}",
        f"http://user:{secret}@host:5000",
        f"https://{secret}@host",
        f"postgresql://host/db?password={secret}",
        f"https://host/x#access_token={secret}",
    ):
        assert has_credentials(uri)
        assert secret not in redact(uri)
        assert secret not in redact(f"read '{uri}' and ({uri})")
        assert secret not in redact(f"cannot open {uri}: wrong key {secret}", uri)


@given(secret=BOLD_SECRET)
def test_no_unescaped_secret_shows(secret: str) -> None:
    for uri in (f"s3://AKIA1:{secret}@bucket/x?region=r", f"http://user:{secret}@host", f"mysql+x://u:{secret}@h:1/d"):
        for text in (uri, f"read '{uri}' and ({uri})", f"[s3://a/b,{uri},http://c]"):
            assert secret not in redact(text)
            assert "AKIA1" not in redact(text)
            assert "user" not in redact(text)


def test_anonymous_access_is_no_credential() -> None:
    assert not has_credentials("s3://anonymous@bucket/x")
    assert has_credentials("s3://anonymous:key@bucket/x")
    assert redact("cannot read anonymous files", "s3://anonymous@bucket/x") == "cannot read anonymous files"


def test_a_very_long_word_is_hidden_in_no_time() -> None:
    assert redact("a" * 1_000_000) == "a" * 1_000_000


def test_an_error_stays_readable() -> None:
    uri = "http://u:pw@host:5000/x"
    assert redact("Connection refused by u:pw@host", uri) == "Connection refused by ***@host"
    assert redact("", uri) == ""
    assert redact("from http://u:pw@host/x, to s3://b/y?sig=abc&region=r") == (
        "from http://host/x, to s3://b/y?sig=***&region=r"
    )
