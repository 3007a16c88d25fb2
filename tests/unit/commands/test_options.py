"""Options that several commands share: names of studies for the shell."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click import Command, Context

from wetakd.commands import options
from wetakd.storage.atomic_store import Store


class NeverDeep(Store):
    """A storage that cannot be listed at any depth."""

    def _files(self, folder: str) -> Iterator[None]:  # type: ignore[override]
        raise AssertionError(f"{folder} is listed with all that is below it")


def test_names_of_studies_are_completed_without_a_look_into_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("digits", "dogs", "birds"):
        Store(str(tmp_path)).write(f"studies/{name}/figures/accuracy.png", b"png")
    monkeypatch.setattr(options, "Store", NeverDeep)
    context = Context(Command("report"))
    context.params["storage"] = str(tmp_path)
    found = options._complete_study(context, None, "d")  # type: ignore[arg-type]
    assert [item.value for item in found] == ["digits", "dogs"]
