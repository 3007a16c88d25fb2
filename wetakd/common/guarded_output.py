"""Standard output and standard error whose reader may leave before the end, as in `wetakd run 2>&1 | head`.

Progress that nobody reads any more must not end a study, so writing to standard error never raises. Whether the reader
of standard output has left is remembered, for the exit code.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

READER_LEFT = 141
"""Exit code where output could not be written: that of a program that SIGPIPE ends."""


class GuardedStream:
    """A text stream that notices when its reader has left.

    Args:
        stream: where to write.
        is_optional: nobody needs what is written here, so no error of the system is raised: after the first one
            everything is discarded. Otherwise BrokenPipeError is raised, also by every later write.
    """

    def __init__(self, stream: TextIO, *, is_optional: bool) -> None:
        self._stream = stream
        self.is_optional = is_optional
        self.is_broken = False

    def write(self, text: str) -> int:
        """As `TextIO.write`."""
        if self.is_broken and not self.is_optional:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        with self._guarded():
            return self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As `TextIO.writelines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """As `TextIO.flush`."""
        with self._guarded():
            self._stream.flush()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not self.is_optional and not isinstance(error, BrokenPipeError):
                raise
            self.is_broken = True
            self._discard()
            if not self.is_optional:
                raise

    def _discard(self) -> None:
        """Whatever is still buffered, here or in the interpreter, can now be flushed without another error."""
        with suppress(OSError, ValueError):  # a stream without a file descriptor
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def optional_stream(stream: TextIO) -> TextIO:
    """`stream`, so that writing to it never raises an error of the system."""
    return cast(TextIO, GuardedStream(stream, is_optional=True))


@contextmanager
def guard_output() -> Iterator[GuardedStream]:
    """Guard this process's output; yields the guard of standard output.

    Standard error is optional: progress and messages. A stream that was closed before the start is the null device.
    """
    before = sys.stdout, sys.stderr
    # In this order: a closed standard output gives its number to the next file that is opened.
    stdout, stderr = (stream or open(os.devnull, "w") for stream in before)  # noqa: SIM115 (open to the end)
    guard = GuardedStream(stdout, is_optional=False)
    sys.stdout, sys.stderr = cast(TextIO, guard), optional_stream(stderr)
    try:
        yield guard
    finally:
        sys.stderr.flush()
        with suppress(BrokenPipeError):
            guard.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def ignoring_closed_output() -> Iterator[None]:
    """In this block, what a user's functions print does not raise either when the reader has left."""
    guard = sys.stdout
    if not isinstance(guard, GuardedStream):
        yield
        return
    guard.is_optional = True
    try:
        yield
    finally:
        guard.is_optional = False


def terminal_columns() -> int:
    """Columns of the terminal that standard output is; 80 where it is none or does not say."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):  # a file, a pipe, or no file descriptor at all
        return 80
