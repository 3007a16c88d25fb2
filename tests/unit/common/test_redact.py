"""URIs: secrets do not show, and what is harmless does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wetakd.common.redact import redact_line, redact_uris, redacted

SECRET = st.text("abcdefXYZ0123456789+/%=_", min_size=8, max_size=30)
# Signs that belong escaped into a URI, and that people leave as they are.
# One that looks like the start of another URI cannot be told from it.
BOLD_SECRET = st.text("abXY09+/%=_,;!$&'()*[]{}|<>?#@:", min_size=8, max_size=30).filter(
    lambda secret: "://" not in f":{secret}"
)


@pytest.mark.parametrize(
    "uri",
    [
        "./runs",
        "/data/a@b:c",
        "file:///tmp/x",
        "s3://bucket/folder",
        "s3://bucket/me@home?region=us-east-1&endpoint_override=localhost:9000&scheme=http",
        "http://host:5000",
        "sqlite:////tmp/mlflow.db",
        "postgresql+psycopg://host:5432/db",
    ],
)
def test_what_is_harmless_shows_as_it_is(uri: str) -> None:
    assert redacted(uri) == uri


def test_a_quotation_mark_belongs_to_a_secret_or_ends_the_uri() -> None:
    assert redact_uris("'s3://b?sig=a'b'-c''d', 's3://b?region=r': more") == "'s3://b', 's3://b?region=r': more"
    assert redact_uris("s3://b?sig=a'&secret_key=b") == "s3://b"


@given(secret=SECRET)
def test_no_secret_shows(secret: str) -> None:
    for uri in (
        f"s3://AKIA1:{secret}@bucket/x?region=r",
        f"s3://bucket/x?secret_key={secret}",
        f"https://account.blob/x?sv=1&sig={secret}",
        f"http://user:{secret}@host:5000",
        f"https://{secret}@host",
        f"postgresql://host/db?password={secret}",
        f"s3://bucket/x?endpoint_override=user:{secret}@host:9000",
    ):
        assert secret not in redacted(uri)
        assert secret not in redact_uris(f"read '{uri}' and ({uri})")
        assert secret not in redact_line(f"cannot open {uri}: wrong key {secret}\n{secret}", uri)


@given(secret=BOLD_SECRET)
def test_no_unescaped_secret_shows(secret: str) -> None:
    for uri in (f"s3://AKIA1:{secret}@bucket/x?region=r", f"http://user:{secret}@host", f"mysql+x://u:{secret}@h:1/d"):
        for text in (
            redacted(uri),
            redact_uris(uri),
            redact_uris(f"read '{uri}' and ({uri})"),
            redact_uris(f"[s3://a/b,{uri},http://c]"),
        ):
            assert secret not in text
            assert "AKIA1" not in text
            assert "user" not in text


def test_what_follows_a_number_sign_does_not_show() -> None:
    assert redacted("https://host/x#token=abc") == "https://host/x"
    assert redact_uris("at https://host/x#token=abc.") == "at https://host/x"


def test_a_very_long_word_is_hidden_in_no_time() -> None:
    assert redact_uris("a" * 1_000_000) == "a" * 1_000_000


def test_an_error_stays_readable() -> None:
    uri = "http://u:pw@host:5000/x"
    assert redact_line("Connection refused by u:pw@host\nmore", uri) == "Connection refused by ***@host"
    assert redact_line("", uri) == ""
    assert redact_uris("from http://u:pw@host/x, to s3://b/y") == "from http://host/x, to s3://b/y"
