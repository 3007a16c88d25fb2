"""Several studies at once on one cluster and one storage, and a study of a thousand trials.

`pytest -s tests/slow/test_load.py` prints the figures.
"""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from tests.faults.faulted_study import VARIABLE, Run, tree
from tests.faults.killable_cluster import Cluster

MEBIBYTE = 2**20
NUM_STUDIES = 3
_QUICK = {"model": {"name": "plain", "options": {"depth": 2}}, "recipe": {"epochs": 1, "precision": "float32"}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head and two nodes of one CPU."""
    cluster = Cluster()
    yield cluster
    cluster.close()


def table(folder: Path, study: str) -> pd.DataFrame:
    frame = pd.read_parquet(folder / f"studies/{study}/trials.parquet")
    return frame.drop(columns=VARIABLE).reset_index(drop=True)


@pytest.mark.timeout(900)
def test_studies_that_share_every_key_finish_side_by_side_with_the_same_table(tmp_path: Path, cluster: Cluster) -> None:
    shared = str(tmp_path / "shared")
    runs = []
    for i in range(NUM_STUDIES):
        folder = tmp_path / f"study{i}"
        blocks: dict[str, Any] = tree(folder)["study"] | {"name": f"study{i}"}
        runs.append(Run(folder, tree(folder, study=blocks, storage=shared)))
    for run in runs:
        run.start(cluster.address)
    assert [run.wait(600) for run in runs] == [0] * NUM_STUDIES, [run.log[-500:] for run in runs]
    tables = [table(tmp_path / "shared", f"study{i}") for i in range(NUM_STUDIES)]
    assert tables[0]["error"].isna().all()
    for other in tables[1:]:
        pd.testing.assert_frame_equal(other, tables[0])
    # Two may have begun the same network at the same time: the last committer wins, and all have the same bytes.
    database = sqlite3.connect(tmp_path / "shared/mlflow.db")
    assert database.execute("SELECT status, COUNT(*) FROM runs GROUP BY status").fetchall() == [
        ("FINISHED", NUM_STUDIES * (1 + 3 + len(tables[0])))
    ]


@pytest.mark.timeout(3600)
def test_a_thousand_trials_leave_the_drivers_memory_flat(tmp_path: Path, cluster: Cluster) -> None:
    folder = tmp_path / "thousand"
    study = {"name": "hurt", "seeds": 167, "subsets": [2], "strategies": ["uniform", "random", "convex"]}
    study |= {"controls": ["none", "single"], "primary": {"strategy": "convex"}}
    blocks = {"study": study, "teacher": _QUICK, "student": _QUICK, "assistants": {"first": _QUICK, "second": _QUICK}}
    run = Run(folder, tree(folder, **blocks, limits={"silent_s": 300}))
    began = time.monotonic()
    run.start(cluster.address)
    assert run.driver is not None
    seen = list(_memory(run, run.driver))
    seconds = time.monotonic() - began
    assert run.wait(60) == 0, run.log[-2000:]
    frame = table(run.runs, "hurt")
    assert len(frame) == 167 * 6
    assert frame["error"].isna().all()
    assert frame.groupby("student_key").size().max() <= 6

    done, memory = np.array(seen).T
    at = {share: float(memory[np.searchsorted(done, share * done[-1])]) for share in (0.1, 0.5, 0.99)}
    growth = at[0.99] - at[0.1]
    print(
        f"\n{len(frame)} trials, {int(done[-1])} distinct students, {seconds:.0f} s; the driver's memory at 10, 50 and "
        f"99 % of the students: {', '.join(f'{value:.0f} MiB' for value in at.values())}; most: {memory.max():.0f} MiB"
    )
    assert growth / (0.89 * done[-1]) < 0.1, "MiB a trial"


def _memory(run: Run, driver: subprocess.Popen[bytes]) -> Iterator[tuple[int, float]]:
    """(students done, MiB that the driver alone holds), twice a second while students are trained."""
    process = psutil.Process(driver.pid)
    while driver.poll() is None:
        done = run.num_done("students")
        try:
            # Without shared pages, so without what it maps of the object store.
            held = process.memory_full_info().uss / MEBIBYTE
        except psutil.Error:
            return
        if done:
            yield done, held
        time.sleep(0.5)
