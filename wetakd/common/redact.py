"""URIs without their credentials: what may be printed, logged or written to a file."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlencode

from wetakd.common.errors import first_line

# What a query may show. Everything else could be a secret (access_key, session_token, sig, password, ...).
_SHOWN_OPTIONS = ("region", "endpoint_override", "scheme", "allow_bucket_creation", "allow_bucket_deletion")
_HIDDEN = "***"
# Credentials may hold any sign, up to the last "@"; they and the options end where another URI begins.
_URI = re.compile(
    r"""[A-Za-z][\w+.-]{0,30}://(?:(?:(?!://)[^\s"])*@)?[^\s'",\[\]?#]*"""
    r"""(?:[?#](?:(?!,[A-Za-z][\w+.-]{0,30}://)(?:[^\s'"]|'(?![\s,)\]}:;.]|$)))*)?"""
)


def split_uri(uri: str) -> tuple[str, str, str, str]:
    """Scheme, credentials, the address proper and the query of `uri`; all but the address may be empty."""
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return "", "", uri, ""
    address, query = _parted(rest)
    # A secret with an unescaped "/" looks like a path, so an "@" anywhere counts, but for a bucket's plain path.
    authority, _, _ = address.partition("/")
    before, at, after = address.rpartition("@")
    if at and ("@" in authority or ":" in authority or scheme.lower().startswith("http")):
        return scheme, before, after, query
    if "@" in query and ":" in authority:  # a secret with an unescaped "?" or "#", as likely as a port
        before, _, after = rest.rpartition("@")
        return scheme, before, *_parted(after)
    return scheme, "", address, query


def _parted(rest: str) -> tuple[str, str]:
    """The address, and its query or fragment: both may hold secrets."""
    address, *options = re.split("[?#]", rest, maxsplit=1)
    return address, "".join(options)


def redacted(uri: str) -> str:
    """`uri` without user, password and every query option that is not known to be harmless."""
    scheme, _, address, query = split_uri(uri)
    if not scheme:
        return uri
    options = [(name, value.rpartition("@")[2]) for name, value in parse_qsl(query) if name in _SHOWN_OPTIONS]
    return f"{scheme}://{address}" + (f"?{urlencode(options, safe=':/')}" if options else "")


def redact_line(text: str, uri: str) -> str:
    """The first line of `text` (an error message, say) without `uri` in full and without any of its secrets."""
    line = first_line(text)
    line = line.replace(uri, redacted(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        # A short one may be part of an innocent word, so it must stand alone.
        line = line.replace(secret, _HIDDEN) if len(secret) > 3 else re.sub(rf"\b{re.escape(secret)}\b", _HIDDEN, line)
    return line


def _secrets(uri: str) -> set[str]:
    _, credentials, _, query = split_uri(uri)
    found = {credentials, *credentials.split(":", 1)}
    for option in query.split("&"):
        name, _, value = option.partition("=")
        if name not in _SHOWN_OPTIONS:
            found.add(value)
        elif "@" in value:
            found |= {value.rpartition("@")[0], *value.rpartition("@")[0].split(":")}
    return {form for secret in found for form in (secret, unquote(secret)) if form}


def redact_uris(text: str) -> str:
    """`text` with every URI in it as `redacted` has it."""
    return _URI.sub(lambda found: redacted(found.group()), text)
