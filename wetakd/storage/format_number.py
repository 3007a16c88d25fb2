"""The format number of a storage: which layout of files and keys a folder or bucket has.

`format.json` in the root holds it. It is written when a storage is used for the first time, and every command that
opens the storage checks it, so one version of wetakd never misreads what another has written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.common.errors import UserError
from wetakd.storage.addresses import STUDIES

if TYPE_CHECKING:
    from wetakd.storage.atomic_store import Store

FORMAT = 2
"""Raise it with a change that older versions of wetakd would misread."""

_FORMAT_FILE = "format.json"
_BEFORE_NUMBERS = 1
"""The format of a storage that holds studies and has no number."""


def check_format(store: Store) -> None:
    """Raise UserError where `store` has another format than this version reads; an empty storage has none yet."""
    found = _format_of(store)
    if found not in (None, FORMAT):
        raise UserError(
            f"storage: {store.redacted_uri!r} has format {found}, and this version of wetakd reads format {FORMAT}; "
            "use the version that wrote it, or give an empty folder"
        )


def write_format(store: Store) -> None:
    """Give an empty storage its number, and repair a damaged one; raises UserError as `check_format` does."""
    check_format(store)
    number = dump_with_digest({"format": FORMAT})
    if store.read_file(_FORMAT_FILE) != number:
        store.write(_FORMAT_FILE, number)


def _format_of(store: Store) -> int | str | None:
    raw = store.read_file(_FORMAT_FILE)
    if raw is None:
        return _BEFORE_NUMBERS if store.folders(STUDIES) else None
    try:
        number = load_with_digest(raw)["format"]
    except (ValueError, KeyError):
        return FORMAT  # damaged; the next study writes it again
    return number if isinstance(number, int) else str(number)
