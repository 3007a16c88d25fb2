"""The cluster on one machine."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.cluster_files.read_cluster_files import (
    CLUSTER,
    one_machine,
)


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `up` says of a folder in which it starts nothing, and writes nothing."""
    before = sorted(folder.iterdir()) if folder.is_dir() else []
    assert one_machine().main(["up", "--folder", str(folder)]) == 2
    assert (sorted(folder.iterdir()) if folder.is_dir() else []) == before
    return capsys.readouterr().err


def test_one_machine_refuses_a_folder_that_others_could_have_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir(mode=0o700)
    for mode in (0o755, 0o720, 0o701):
        folder.chmod(mode)
        assert f"{folder} must be a folder of yours alone" in refused(folder, capsys)
    folder.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert "a folder of yours alone" in refused(link, capsys)
    (tmp_path / "file").touch(mode=0o600)
    assert "a folder of yours alone" in refused(tmp_path / "file", capsys)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert "a folder of yours alone" in refused(folder, capsys)


def test_one_machine_keeps_its_folder_and_a_fresh_token_to_itself(tmp_path: Path) -> None:
    module, folder = one_machine(), tmp_path / "cluster"
    module.keep_to_ourselves(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    module.keep_to_ourselves(folder)  # again: `up` after `down`
    stale = folder / "auth_token"
    stale.symlink_to(tmp_path / "elsewhere")
    tokens = set()
    for _ in range(2):
        token = module.fresh_token(folder)
        assert token == stale
        assert not token.is_symlink()
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        tokens.add(token.read_text())
    assert {len(text) for text in tokens} == {64}
    assert len(tokens) == 2
    assert not (tmp_path / "elsewhere").exists()


def test_one_machine_goes_down_though_a_process_ends_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = one_machine()
    gone = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"{tmp_path}/ray/"])
    found = module.processes_of(tmp_path)
    assert [process.pid for process in found] == [gone.pid]
    gone.kill()
    gone.wait()
    monkeypatch.setattr(module, "processes_of", lambda folder: found)
    assert module.down(tmp_path) == 0
    assert capsys.readouterr().out == "1 processes ended\n"


def test_the_command_on_one_machine_ends_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(CLUSTER / "one_machine.py"), "down", "--folder", str(tmp_path / "ray" / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 processes ended\n", "")
