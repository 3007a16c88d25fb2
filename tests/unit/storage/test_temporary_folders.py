"""Temporary folders: removed after use; those of killed drivers are removed by the next holder of the study's lease."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from wetakd.storage.atomic_store import Store
from wetakd.storage.temporary_folders import remove_temporary_folders, temporary_folder

_KILLED = (
    "import os, sys\nfrom wetakd.storage.temporary_folders import temporary_folder\n"
    "from wetakd.storage.atomic_store import Store\n"
    "with temporary_folder(Store(sys.argv[1]), 'digits'): os.kill(os.getpid(), 9)"
)


def test_a_folder_of_a_killed_driver_is_removed_by_the_next_one_of_its_study(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False).returncode == -9
    store, folder = Store(str(tmp_path)), tmp_path / "studies/digits/tmp"
    assert len(list(folder.iterdir())) == 1
    remove_temporary_folders(store, "flowers")
    assert len(list(folder.iterdir())) == 1
    remove_temporary_folders(store, "digits")
    assert not folder.exists()


def test_nothing_in_a_shared_temporary_folder_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    # As a driver in another container has it: no process here has this number.
    theirs = shared / "wetakd-4999999-abc"
    theirs.mkdir(parents=True)
    store = Store(str(tmp_path / "runs"))
    remove_temporary_folders(store, "digits")
    with temporary_folder(store, "digits") as outer, temporary_folder(store, "digits") as inner:
        assert outer != inner
        assert outer.is_relative_to(tmp_path / "runs/studies/digits/tmp")
    assert not outer.exists()
    assert not inner.exists()
    assert [path.name for path in shared.iterdir()] == [theirs.name]


def test_on_remote_storage_it_is_in_the_session_or_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = Store("s3://bucket/runs?region=eu-west-1")
    remove_temporary_folders(store, "digits")
    session = tmp_path / "session"
    session.mkdir()
    with temporary_folder(store, "digits", session=session) as below, temporary_folder(store, "digits") as own:
        assert below.parent == session
        assert own.parent == tmp_path
    assert list(tmp_path.iterdir()) == [session]
