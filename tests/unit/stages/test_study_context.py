"""A stage begins only while the study is ours; whole studies: tests/integration/test_study.py."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from wetakd.common.errors import UserError
from wetakd.common.progress import QuietReporter
from wetakd.stages.publish import publish
from wetakd.stages.study_context import StudyContext
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import Lease

PATH = "studies/digits/lease.json"


def context(store: Store, lease: Lease) -> StudyContext:
    """What a stage looks at before it begins, and nothing else."""
    nothing: Any = None
    return StudyContext(nothing, store, lease, nothing, nothing, nothing, nothing, nothing, nothing, QuietReporter())


def test_no_stage_begins_after_another_driver_took_the_study_over(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    nothing: Any = None
    with Lease(store, PATH, silent_s=0.6) as lease:
        with context(store, lease).stage("networks", 1.0):
            pass
        other = replace(lease._read(), owner="other", host="node7")  # type: ignore[type-var]
        store.write(PATH, json.dumps(asdict(other)).encode())
        time.sleep(0.3)
        with pytest.raises(UserError, match="host node7"), context(store, lease).stage("weights", 1.0):
            pass
        with pytest.raises(UserError, match="host node7"):
            publish(context(store, lease), {}, nothing, ())
    assert store.list() == [PATH]
