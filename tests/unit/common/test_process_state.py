"""State of the process is restored at the end of a block, however it ends and whatever changed it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import uuid
import warnings
from contextlib import suppress

import pytest
import torch

from wetakd.common import process_state
from wetakd.common.process_state import restored


def _handler(*_: object) -> None:
    pass


def test_everything_is_restored_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WETAKD_CHANGED", "before")
    monkeypatch.setenv("WETAKD_DELETED", "before")
    logger = logging.getLogger(f"test.{uuid.uuid4().hex}")
    logger.setLevel(logging.INFO)
    environment, filters, threads = dict(os.environ), list(warnings.filters), torch.get_num_threads()
    sigterm, sigusr1 = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    with suppress(KeyError), restored():
        os.environ["WETAKD_CHANGED"] = os.environ["WETAKD_NEW"] = "inside"
        del os.environ["WETAKD_DELETED"]
        logger.setLevel(logging.CRITICAL)
        warnings.simplefilter("error")
        torch.set_num_threads(threads + 1)
        signal.signal(signal.SIGTERM, _handler)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise KeyError
    assert dict(os.environ) == environment
    assert logger.level == logging.INFO
    assert warnings.filters == filters
    assert torch.get_num_threads() == threads
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)) == (sigterm, sigusr1)


def test_the_level_of_a_logger_that_is_new_is_restored_too() -> None:
    name = f"test.{uuid.uuid4().hex}"
    with restored():
        logging.getLogger(name).setLevel(logging.INFO)  # as a library does when it is imported
        process_state.set_level(name, logging.ERROR)
        process_state.set_level(name, logging.CRITICAL)
        assert logging.getLogger(name).level == logging.CRITICAL
    assert logging.getLogger(name).level == logging.INFO


def test_variables_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WETAKD_MINE", "mine")
    monkeypatch.delenv("WETAKD_NEW", raising=False)
    with restored():
        process_state.set_default_variables({"WETAKD_MINE": "yours", "WETAKD_NEW": "new"})
        assert (os.environ["WETAKD_MINE"], os.environ["WETAKD_NEW"]) == ("mine", "new")
    assert os.environ["WETAKD_MINE"] == "mine"
    assert "WETAKD_NEW" not in os.environ


def test_what_an_inner_block_changed_stays_until_the_outer_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WETAKD_NEW", raising=False)
    with restored():
        with restored():
            process_state.set_default_variables({"WETAKD_NEW": "new"})
        assert os.environ["WETAKD_NEW"] == "new"
    assert "WETAKD_NEW" not in os.environ


def test_of_two_threads_the_last_one_to_end_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WETAKD_NEW", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    entered, may_end = threading.Event(), threading.Event()

    def other() -> None:
        with restored():
            os.environ["WETAKD_NEW"] = "new"
            entered.set()
            may_end.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(60)
    with restored():
        signal.signal(signal.SIGTERM, _handler)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert os.environ["WETAKD_NEW"] == "new"
    may_end.set()
    thread.join(60)
    assert "WETAKD_NEW" not in os.environ
