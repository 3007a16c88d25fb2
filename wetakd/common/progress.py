"""What a person sees while a study runs: one moving line on a terminal, plain lines elsewhere, or nothing.

Everything goes to standard error, so that results on standard output can be piped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from wetakd.common.guarded_output import optional_stream

# A log is read afterwards: one line in so many seconds tells that it lives without drowning what matters.
_LINE_EVERY_S = 5.0


class Stage(Protocol):
    """One part of a study, with a known amount of work."""

    def step(self, done: float, what: str, stored: float = 0.0) -> None:
        """`done` of the stage's total is finished; `what` says what was reported last.

        stored: the part of `done` that took this run no work, which the time left is not estimated from.
        """


class Reporter(Protocol):
    """Shows stages one after another."""

    def message(self, text: str) -> None:
        """Show a line that stays."""

    def stage(self, title: str, total: float) -> AbstractContextManager[Stage]:
        """Begin a part with `total` units of work."""


class _Pace:
    """The time left of a stage, from the work that this run has done."""

    def __init__(self, total: float) -> None:
        self._total = total
        self._first: tuple[float, float] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was anything to do."""
        return self._first is not None

    def left_s(self, done: float, stored: float) -> float | None:
        """Seconds until the total is reached; None where that is not known yet."""
        now, work = time.monotonic(), done - stored
        if self._first is None and (work > 0 or not stored):
            # Work is timed from its first sign on: before it, processes were starting.
            self._first = now, work
        if self._first is None or work <= self._first[1]:
            return None
        return (now - self._first[0]) * (self._total - done) / (work - self._first[1])


class _Silence:
    def step(self, done: float, what: str, stored: float = 0.0) -> None:
        """Show nothing."""


class QuietReporter:
    """Shows nothing."""

    def message(self, text: str) -> None:
        """Show nothing."""

    @contextmanager
    def stage(self, title: str, total: float) -> Iterator[Stage]:
        """Show nothing."""
        yield _Silence()


class LineReporter:
    """Plain lines for logs: no control codes, a line every few seconds and one at the end of each stage."""

    def __init__(self, stream: TextIO, every_s: float = _LINE_EVERY_S) -> None:
        self._stream = stream
        self._every_s = every_s

    def message(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._stream, flush=True)

    @contextmanager
    def stage(self, title: str, total: float) -> Iterator[Stage]:
        """Write how far the stage is, now and then."""
        stage = _LineStage(self, title, total, self._every_s)
        yield stage
        stage.end()


class _LineStage:
    def __init__(self, reporter: LineReporter, title: str, total: float, every_s: float) -> None:
        self._reporter, self._title, self._total, self._every_s = reporter, title, total, every_s
        self._started = self._shown = time.monotonic()
        self._pace = _Pace(total)

    def step(self, done: float, what: str, stored: float = 0.0) -> None:
        """Write a line where the last one is old enough."""
        now, left = time.monotonic(), self._pace.left_s(done, stored)
        if now - self._shown >= self._every_s:
            self._shown = now
            self._reporter.message(
                f"{self._title:<9} {format_share(done, self._total):>4}  {format_duration(left):>7} left  {what}"
            )

    def end(self) -> None:
        """Say that the stage is over, where there was anything to do."""
        if self._pace.has_begun:
            self._reporter.message(f"{self._title:<9} done in {format_duration(time.monotonic() - self._started)}")


class TerminalReporter:
    """One moving line with a bar."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)

    def message(self, text: str) -> None:
        """Write a line that stays."""
        self._console.print(text, markup=False, highlight=False)

    @contextmanager
    def stage(self, title: str, total: float) -> Iterator[Stage]:
        """Show a bar until the stage ends, then one line."""
        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[left]:>5}"),
            # What does not fit is cut from here, never from the columns before it.
            TextColumn("{task.fields[what]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        )
        started = time.monotonic()
        with Progress(*columns, console=self._console, transient=True, expand=True) as bar:
            task = bar.add_task(title, total=total or None, what="", left=format_duration(None))
            yield _BarStage(bar, task, total)
        self.message(f"{title:<9} done in {format_duration(time.monotonic() - started)}")


class _BarStage:
    def __init__(self, bar: Progress, task: TaskID, total: float) -> None:
        self._bar, self._task, self._pace = bar, task, _Pace(total)

    def step(self, done: float, what: str, stored: float = 0.0) -> None:
        """Move the bar."""
        left = format_duration(self._pace.left_s(done, stored))
        self._bar.update(self._task, completed=done, what=what, left=left)


def make_reporter(quiet: bool = False) -> Reporter:
    """The reporter that fits where standard error goes. When its reader leaves, it goes on without a word."""
    if quiet or sys.stderr is None:
        return QuietReporter()
    stream = optional_stream(sys.stderr)
    return TerminalReporter(stream) if stream.isatty() else LineReporter(stream)


def format_share(done: float, total: float) -> str:
    """How much of a total is done, such as `42%`."""
    return f"{100 * done / total:.0f}%" if total else "0%"


def format_duration(seconds: float | None) -> str:
    """Seconds as `m:ss` or `h:mm:ss`; `?` where unknown."""
    if seconds is None:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
