"""One wrong input, and what the command line made of it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from unittest import mock

from wetakd.commands import main
from wetakd.config import StudyConfig

_FORMAT_NUMBER = re.compile(r"\./[^/]+/format\.json").fullmatch
"""Written before the lease of a study: without it, another driver would take the storage for one of an old format."""


@dataclass(frozen=True)
class WrongInput:
    """`command` follows the word `wetakd`; `files` lie in the folder where it runs; `says` must stand in its line."""

    kind: str
    what: str
    command: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    says: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Outcome:
    """Exit code, what was printed, and the files that were not there before, but for the storage's format number."""

    code: int
    out: str
    err: str
    left: tuple[str, ...]

    @property
    def fault(self) -> str | None:
        """Why this is no way to refuse bad input; None where it is."""
        lines = self.err.splitlines()
        if self.code != 2:
            return f"exit code {self.code}"
        if self.out or len(lines) != 1:
            return f"{len(lines)} lines of complaint, {len(self.out.splitlines())} of output"
        if not lines[0].startswith("wetakd: ") or len(lines[0]) > 700:
            return "not one short line"
        if self.left:
            return f"left {', '.join(self.left)}"
        return None


def attempt(wrong_input: WrongInput) -> Outcome:
    """Run the command line in this process, in a folder of its own."""
    folders, path = tempfile.TemporaryDirectory(prefix="wetakd-bad-"), list(sys.path)
    with folders as folder, contextlib.chdir(folder), mock.patch.object(sys, "path", [folder, *path]):
        for name, content in wrong_input.files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(content)
        before = set(_files())
        code, out, err = call(*wrong_input.command)
        return Outcome(
            code, out, err, tuple(sorted(file for file in set(_files()) - before if not _FORMAT_NUMBER(file)))
        )


def call(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error (with warnings) of `wetakd WORDS`, called in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, ["wetakd", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _shown_warnings(), _no_cluster():
            main.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = argv
    return code, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _no_cluster() -> Iterator[None]:
    """What is not refused before a cluster starts would train."""

    def joined(config: StudyConfig) -> NoReturn:
        raise AssertionError("training would begin")

    with mock.patch("wetakd.study.joined", joined):
        yield


@contextlib.contextmanager
def _shown_warnings() -> Iterator[None]:
    """A warning is a line that the user sees, whoever else collects them."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("always", RuntimeWarning)
        try:
            yield
        finally:
            for warning in told:
                print(warning.message, file=sys.stderr)


def _files() -> Iterator[str]:
    for folder, _, names in os.walk("."):
        yield from (os.path.join(folder, name) for name in names if not name.endswith(".pyc"))
