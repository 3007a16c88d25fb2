"""Manifests: what is committed at an address, with the size and SHA-256 of every blob."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wetakd.common.canonical_json import load_with_digest
from wetakd.common.errors import UserError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class BlobRef:
    """Where a blob lies (a file name within its address), its bytes, and the hex sha256 of its content."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One committed result: what its key is the hash of, its blobs by name, and the facts that its writer recorded."""

    address: str
    blobs: Mapping[str, BlobRef]
    facts: Mapping[str, Any]
    payload: Mapping[str, Any]
    """Empty for what has no key of its own, such as the record of a failure."""


def check_relative_path(path: str) -> str:
    """`path`, if it can only mean something below the root; else UserError."""
    parts = path.split("/")
    if re.search(r"[\\\x00-\x1f\x7f]", path) or any(part in ("", ".", "..") for part in parts):
        raise UserError(f"path: {path!r} must be a relative path within the storage, such as studies/digits")
    return path


def manifest_content(manifest: Manifest) -> dict[str, Any]:
    """What the file of a manifest holds, without its digest."""
    blobs = {name: vars(ref) for name, ref in manifest.blobs.items()}
    return {"address": manifest.address, "blobs": blobs, "facts": manifest.facts, "payload": manifest.payload}


def parse_manifest(address: str, raw: bytes) -> Manifest | None:
    """The manifest in `raw`, or None unless it is byte for byte what `Store.commit` writes for `address`."""
    try:
        body = load_with_digest(raw)
        blobs = {str(name): BlobRef(**ref) for name, ref in body["blobs"].items()}
        manifest = Manifest(address, blobs, body["facts"], body["payload"])
        paths = [check_relative_path(ref.path) for ref in blobs.values()]
        intact = manifest_content(manifest) == body and not any("/" in path for path in paths)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return manifest if intact else None
