"""Pages of documentation as programs: their files are written and their commands run, in the order of the page.

A block after a line that ends in "`name`:" is that file; a block of `sh` is run line by line. Others are left aside.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from wetakd.commands.main import commands

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs"


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    kind: str
    text: str
    file: str | None


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    found, lines = [], page.read_text(encoding="utf-8").split("\n")
    starts = [i for i, line in enumerate(lines) if line.startswith("```")]
    for start, end in zip(starts[::2], starts[1::2], strict=True):
        before = next((line for line in reversed(lines[:start]) if line), "")
        file = re.search(r"^`([\w.-]+)`:$", before)
        found.append(Block(lines[start][3:], "\n".join(lines[start + 1 : end]) + "\n", file[1] if file else None))
    return found


def write_files(page: Path, folder: Path) -> None:
    """Put the files of a page into `folder`, and run none of its commands."""
    for block in blocks(page):
        if block.file is not None:
            (folder / block.file).write_text(block.text, encoding="utf-8")


def follow(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, apart: bool = False) -> Iterator[str]:
    """Do what a page says in `folder`; yields what each command printed. `apart`: each in a process of its own."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for block in blocks(page):
        if block.file is not None:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.kind == "sh":
            for line in filter(None, block.text.splitlines()):
                yield _apart(line) if apart else _here(line)


def _here(line: str) -> str:
    """`wetakd …` and `python FILE` without the seconds that a process needs to begin."""
    program, *words = shlex.split(line, comments=True)
    if program == "python":
        runpy.run_path(words[0], run_name="__main__")
        return ""
    assert program == "wetakd", line
    told = CliRunner().invoke(commands, words, catch_exceptions=False)
    assert told.exit_code == 0, (line, told.output)
    return told.stdout


def _apart(line: str) -> str:
    # What a page installs goes into its own folder, not into the environment that runs the tests.
    here, site = Path.cwd(), Path.cwd() / "site"
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{here}:{site}",
        "PIP_TARGET": str(site),
    }
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout
