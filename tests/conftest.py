"""A skip is a hole in the proof: one that `allowed_skips.txt` does not name fails the run.

The file has a line a skip, `NODEID -- REASON`, for what a machine may honestly lack, such as real images or root.
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest

ReportT = TypeVar("ReportT", pytest.TestReport, pytest.CollectReport)

_LINES = Path(__file__).with_name("allowed_skips.txt").read_text(encoding="utf-8").splitlines()
ALLOWED = frozenset(line.strip() for line in _LINES if line.strip() and not line.startswith("#"))


def pytest_configure() -> None:
    """A job in the background of a script begins with Ctrl-C ignored, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _held_against_the_list((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _held_against_the_list((yield))


def _held_against_the_list(report: ReportT) -> ReportT:
    """A skip that is not on the list becomes a failure that says which line is missing."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        line = f"{report.nodeid} -- {reason.removeprefix('Skipped: ')}"
        if line not in ALLOWED:
            report.outcome = "failed"
            report.longrepr = f"This skip is not in tests/allowed_skips.txt:\n{line}"
    return report
