"""Process-wide state that a study changes while it runs, and that is restored when the run ends.

Signal handlers, logger levels, environment variables, warning filters, `faulthandler` and the number of torch's
threads belong to the whole process: to the notebook or service that calls `Study.run`. wetakd, Ray and MLflow set them.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

_lock = threading.Lock()
_restoring = ExitStack()
_num_blocks = 0
_replaced_levels: dict[str, int] = {}


@contextmanager
def restored() -> Iterator[None]:
    """Restore the state of the process at the end of the block, however it ends.

    Blocks may be nested, and several threads may run one each: what they share is restored by the last one to end.
    Python sets signal handlers in the main thread only, so other threads neither change nor restore them.
    """
    global _num_blocks, _restoring
    with _restored_signals():
        with _lock:
            if _num_blocks == 0:
                _restoring = _saved()
            _num_blocks += 1
        try:
            yield
        finally:
            with _lock:
                _num_blocks -= 1
                if _num_blocks == 0:
                    _restoring.close()


def set_level(logger_name: str, level: int) -> None:
    """Set the level of a logger until the running `restored` block ends; also of one that is new since it began."""
    logger = logging.getLogger(logger_name)
    _replaced_levels.setdefault(logger_name, logger.level)
    logger.setLevel(level)


def set_default_variables(variables: Mapping[str, str]) -> None:
    """Set environment variables that the user has not set, until the running `restored` block ends."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def _saved() -> ExitStack:
    """The state as it is now; closing the stack restores it."""
    import torch  # here, for commands that do without it

    stack = ExitStack()
    stack.enter_context(warnings.catch_warnings())
    _replaced_levels.clear()
    stack.callback(_restore_levels, _levels())
    stack.callback(_restore_environment, dict(os.environ))
    stack.callback(_restore_threads, torch.get_num_threads())
    if not faulthandler.is_enabled():
        stack.callback(faulthandler.disable)
    return stack


def _levels() -> dict[str, int]:
    loggers = logging.root.manager.loggerDict.copy()
    levels = {name: logger.level for name, logger in loggers.items() if isinstance(logger, logging.Logger)}
    return levels | {logging.root.name: logging.root.level}


def _restore_levels(before: Mapping[str, int]) -> None:
    for name, level in {**_replaced_levels, **before}.items():
        logger = logging.getLogger(name)
        if logger.level != level:
            logger.setLevel(level)


def _restore_threads(before: int) -> None:
    import torch

    if torch.get_num_threads() != before:  # to set it has side effects of its own, on MKL
        torch.set_num_threads(before)


def _restore_environment(before: Mapping[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@contextmanager
def _restored_signals() -> Iterator[None]:
    """Restore the signal handlers, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: a handler that was not set by Python, and that Python cannot set again.
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
