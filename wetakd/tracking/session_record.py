"""One record for each driver that did work for a study: when, on what, with which code, and how it ended.

`studies/NAME/sessions/ID.json`, written when the driver starts and again when it ends. A record without an end is of a
driver that still runs or was killed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wetakd.common.canonical_json import dump_with_digest
from wetakd.common.errors import UserError
from wetakd.storage.addresses import study_path
from wetakd.storage.atomic_store import Store
from wetakd.tracking.environment import code_version, environment


@dataclass
class Session:
    """A driver's run of a study."""

    exit_status: int = 0
    """What the process would exit with: set by the driver, or by the exception that ends the run."""


@contextmanager
def recorded_session(store: Store, study: str) -> Iterator[Session]:
    """Record the block as one session of the study `study`."""
    path = study_path(study, f"sessions/{_now_ms()}-{uuid.uuid4().hex[:8]}.json")
    record: dict[str, Any] = {"started_ms": _now_ms(), "ended_ms": None, "exit_status": None}
    record |= {"environment": environment(), "code": code_version()}
    store.write(path, dump_with_digest(record))
    session = Session()
    try:
        yield session
    except BaseException as error:
        session.exit_status = _exit_status(error)
        raise
    finally:
        store.write(path, dump_with_digest(record | {"ended_ms": _now_ms(), "exit_status": session.exit_status}))


def _exit_status(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, SystemExit):
        # The signal handler of the driver exits with the number of the signal.
        return 128 + error.code if isinstance(error.code, int) and error.code else 1
    return 2 if isinstance(error, UserError) else 1


def _now_ms() -> int:
    return round(time.time() * 1000)
