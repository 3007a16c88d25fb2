"""`wetakd completion`: shells complete commands, options and names of studies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from wetakd.commands.main import commands
from wetakd.storage.atomic_store import Store


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WETAKD_STORAGE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_names_the_command(shell: str) -> None:
    told = CliRunner().invoke(commands, ["completion", shell])
    assert told.exit_code == 0
    assert f"_WETAKD_COMPLETE={shell}_complete" in told.output


def test_bash_completes_commands_options_and_names_of_studies(tmp_path: Path) -> None:
    for name in ("digits", "birds"):
        Store(str(tmp_path / "runs")).write(f"studies/{name}/study.yaml", b"{}")
    script = CliRunner().invoke(commands, ["completion", "bash"]).output
    (tmp_path / "wetakd").write_text(f'#!/bin/sh\nexec {sys.executable} -m wetakd "$@"\n')
    (tmp_path / "wetakd").chmod(0o755)

    def complete(*words: str) -> list[str]:
        code = f"{script}\nCOMP_WORDS=({' '.join(words)}) COMP_CWORD={len(words) - 1}\n_wetakd_completion wetakd\n"
        code += 'printf "%s\\n" "${COMPREPLY[@]}"'
        environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, env=environment, check=True)
        return done.stdout.split()

    assert complete("wetakd", "ex") == ["export"]
    assert complete("wetakd", "export", "--i") == ["--int8"]
    assert complete("wetakd", "report", "di") == ["digits"]
