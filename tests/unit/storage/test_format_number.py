"""The format number of a storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from wetakd.common.canonical_json import dump_with_digest
from wetakd.common.errors import UserError
from wetakd.storage.atomic_store import Store
from wetakd.storage.format_number import FORMAT, check_format, write_format


def test_an_empty_storage_gets_the_number_and_keeps_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    check_format(store)
    assert not list(tmp_path.iterdir())
    write_format(store)
    first = (tmp_path / "format.json").read_bytes()
    store.write("studies/digits/summary.json", b"{}")
    write_format(store)
    check_format(store)
    assert (tmp_path / "format.json").read_bytes() == first


@pytest.mark.parametrize(("content", "number"), [(dump_with_digest({"format": FORMAT + 1}), FORMAT + 1), (None, 1)])
def test_another_format_is_refused_in_one_line_that_says_what_to_do(
    tmp_path: Path, content: bytes | None, number: int
) -> None:
    store = Store(str(tmp_path))
    store.write("studies/digits/summary.json", b"{}")
    if content is not None:
        store.write("format.json", content)
    for function in (check_format, write_format):
        with pytest.raises(UserError) as caught:
            function(store)
        assert str(caught.value) == (
            f"storage: {str(tmp_path)!r} has format {number}, and this version of wetakd reads format {FORMAT}; "
            "use the version that wrote it, or give an empty folder"
        )


def test_a_damaged_number_is_written_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write_format(store)
    first = (tmp_path / "format.json").read_bytes()
    store.write("studies/digits/summary.json", b"{}")
    (tmp_path / "format.json").write_bytes(b"")
    check_format(store)
    write_format(store)
    assert (tmp_path / "format.json").read_bytes() == first
