"""The exception that means a mistake of the user, and any exception as one line of a message."""

from __future__ import annotations


class UserError(ValueError):
    """The user's mistake, in one line that names the field, the value and what would be right.

    The command line prints it without a traceback and exits with code 2. Everything else that escapes is our own
    bug and keeps its traceback.
    """


def one_line(error: BaseException | str, max_chars: int | None = None) -> str:
    """The message of an exception without line breaks, cut to `max_chars`."""
    return " ".join(str(error).split())[:max_chars]


def describe_error(error: BaseException, max_chars: int | None = 200) -> str:
    """`type: message` of an exception in one line, the message cut to `max_chars`."""
    text = one_line(error, max_chars)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def first_line(error: BaseException | str) -> str:
    """The first line of a message; the exception's type where it has no message."""
    return _lines(error)[0].strip()


def last_line(error: BaseException | str) -> str:
    """The last line of a message, where Ray puts the cause; the exception's type where it has no message."""
    return _lines(error)[-1].strip()


def _lines(error: BaseException | str) -> list[str]:
    return str(error).strip().splitlines() or ["" if isinstance(error, str) else type(error).__name__]
