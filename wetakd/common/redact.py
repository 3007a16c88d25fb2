"""Credentials in URIs: found in study files, where they are refused, and hidden in everything that is shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

# `user:secret@` may hold any sign up to the last "@", `user@` none that ends the host.
_USER_INFO = re.compile(
    r"""([A-Za-z][\w+.-]{0,30}://|[?&]endpoint_override=)((?:[^\s/?#"'@:]*:(?:(?!://)[^\s"])*|[^\s/?#"'@:]*)@)"""
)
# Values of a query that sign a request or log in, such as `secret_key`, `X-Amz-Signature`, `sig` and `session_token`.
_SECRET_OPTION = re.compile(
    r"""([?&#][\w.-]{0,40}(?:key|secret|token|passw|pwd|sig|credential)[\w.-]{0,40}=)([^&\s"']+)""", re.IGNORECASE
)
_HIDDEN = "***"


def redact(text: str, uri: str = "") -> str:
    """`text` without the user info and the secret query values of every URI in it.

    `uri`: a URI whose secrets may also occur alone, as in the error message of a library.
    """
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        # A short one may be part of an innocent word, so it must stand alone.
        text = text.replace(secret, _HIDDEN) if len(secret) > 3 else re.sub(rf"\b{re.escape(secret)}\b", _HIDDEN, text)
    return _SECRET_OPTION.sub(rf"\1{_HIDDEN}", _USER_INFO.sub(r"\1", text))


def has_credentials(text: str) -> bool:
    """Whether a URI in `text` has user info other than `anonymous`, or a secret query value."""
    return any(found[2] != "anonymous@" for found in _USER_INFO.finditer(text)) or bool(_SECRET_OPTION.search(text))


def _secrets(uri: str) -> set[str]:
    users = [found[2].removesuffix("@") for found in _USER_INFO.finditer(uri) if found[2] != "anonymous@"]
    parts = [*users, *(part for user in users for part in user.split(":", 1))]
    parts += [found[2] for found in _SECRET_OPTION.finditer(uri)]
    return {form for part in parts for form in (part, unquote(part)) if form}
