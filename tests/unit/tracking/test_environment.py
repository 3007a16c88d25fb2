"""What a study says of where it ran."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from wetakd.tracking.environment import code_version, environment


def test_the_environment_names_versions_and_hardware() -> None:
    told = environment()
    assert told["torch"] == version("torch")
    assert told["memory"].endswith(" GB")


def test_the_code_is_known_by_its_version_and_the_commit_it_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_version() == {"wetakd.version": version("wetakd")}
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]
    for arguments in (["init", "-q"], commit):
        subprocess.run(["git", *arguments], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert code_version()["mlflow.source.git.commit"] == head
