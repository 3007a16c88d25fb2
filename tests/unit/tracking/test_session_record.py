"""One record for each driver that ran a study."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from wetakd.common.canonical_json import load_with_digest
from wetakd.common.errors import UserError
from wetakd.storage.atomic_store import Store
from wetakd.tracking.session_record import recorded_session


def records(folder: Path) -> list[dict[str, Any]]:
    return [load_with_digest(path.read_bytes()) for path in sorted((folder / "studies/digits/sessions").iterdir())]


def test_a_session_is_recorded_when_it_starts_and_when_it_ends(tmp_path: Path) -> None:
    with recorded_session(Store(str(tmp_path)), "digits") as session:
        (running,) = records(tmp_path)
        assert running["ended_ms"] is running["exit_status"] is None
        session.exit_status = 1
    (ended,) = records(tmp_path)
    assert ended["exit_status"] == 1
    assert ended["ended_ms"] >= ended["started_ms"] == running["started_ms"]
    assert ended["environment"]["torch"]
    assert ended["code"]["wetakd.version"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), 130),
        (SystemExit(signal.SIGTERM), 143),
        (UserError("field: wrong"), 2),
        (RuntimeError("ours"), 1),
    ],
)
def test_the_exception_that_ends_a_session_gives_its_exit_status(
    tmp_path: Path, error: BaseException, status: int
) -> None:
    with pytest.raises(type(error)), recorded_session(Store(str(tmp_path)), "digits"):
        raise error
    assert records(tmp_path)[0]["exit_status"] == status


def test_each_driver_has_a_record_of_its_own(tmp_path: Path) -> None:
    for _ in range(3):
        with recorded_session(Store(str(tmp_path)), "digits"):
            pass
    assert len(records(tmp_path)) == 3
