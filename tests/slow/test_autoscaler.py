"""A real autoscaler on the shipped one-machine cluster: nodes come when networks and students ask, and go again."""

import json
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.slow import one_machine
from tests.slow.one_machine import ROOT, OneMachine

pytestmark = pytest.mark.timeout(1500)

# Students that take their time, so that nodes of networks have the time to go while students still train.
SIZE = ["study.seeds=2", "study.subsets=[3]", "study.strategies=[uniform, de]", "student.recipe.epochs=120"]
NETWORKS = ["teacher", "assistants.ta8", "assistants.ta6", "assistants.ta4"]


def overrides(storage: Path, *more: str) -> list[str]:
    placed = [f"{name}.placement={{cpus: 1, labels: {{pool: networks}}}}" for name in NETWORKS]
    student = "student.placement={cpus: 1, labels: {pool: students}}"
    fields = [f"storage={storage}", *SIZE, *placed, student, *more]
    return [part for field in fields for part in ("--set", field)]


def watch(cluster: OneMachine, job: str) -> list[tuple[str, ...]]:
    """The worker nodes that ran together, as often as they changed, until the job is over."""
    seen: list[tuple[str, ...]] = [()]
    deadline, next_look = time.monotonic() + 1000, 0.0
    while time.monotonic() < deadline:
        nodes = tuple(cluster.nodes())
        if nodes != seen[-1]:
            seen.append(nodes)
        if time.monotonic() > next_look:
            (state,) = json.loads(cluster.wetakd("status", job, "--json").stdout)
            if state["status"] not in ("PENDING", "RUNNING"):
                assert state["status"] == "SUCCEEDED", state
                return seen
            next_look = time.monotonic() + 5
        time.sleep(0.3)
    log = cluster.folder / "ray" / "session_latest" / "logs" / f"job-driver-{job}.log"
    raise AssertionError(f"the job never ended; nodes were {seen}; it says\n{log.read_text()[-3000:]}")


def test_nodes_come_for_networks_and_go_while_students_train_and_all_go_at_the_end(tmp_path: Path) -> None:
    with one_machine.running() as cluster:
        assert cluster.nodes() == []
        done = cluster.wetakd("submit", str(ROOT / "jobs" / "digits.yaml"), *overrides(tmp_path / "runs"))
        assert done.returncode == 0, done.stderr
        seen = watch(cluster, done.stdout.strip())
        # Three assistants wait for a node each, and get it.
        assert any(nodes.count("networks") >= 2 for nodes in seen), str(seen)
        assert any(nodes.count("students") >= 1 for nodes in seen), str(seen)
        # Students alone, after networks: no object and no task keeps the nodes of the assistants alive.
        after = max(place for place, nodes in enumerate(seen) if "networks" in nodes)
        assert any(set(nodes) == {"students"} for nodes in seen[after:]), str(seen)
        cluster.wait_for_nodes([], timeout_s=120)
        table = pd.read_parquet(tmp_path / "runs" / "studies" / "digits" / "trials.parquet")
        assert table["error"].isna().all()

        # What no group can ever hold ends at once, though nodes would come for the rest.
        changed = overrides(tmp_path / "never", "teacher.placement={cpus: 5, labels: {pool: networks}}")
        never = cluster.wetakd("submit", str(ROOT / "jobs" / "digits.yaml"), "--follow", *changed)
        assert never.returncode == 2
        assert "teacher.placement: 1 worker(s) of 5 CPU, label pool=networks can never run here" in never.stdout
        assert "and its autoscaler has none for it" in never.stdout
