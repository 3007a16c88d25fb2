"""A study over two hosts that share nothing but storage gives the table of one machine, to the last digit."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.slow import network_hosts
from tests.slow.network_hosts import ROOT, Host

pytestmark = [
    pytest.mark.timeout(2400),
    pytest.mark.skipif(network_hosts.missing() is not None, reason=str(network_hosts.missing())),
]

# Columns that tell where and when rather than what.
NOT_A_RESULT = ["search_seconds", "train_seconds", "mlflow_run_id"]
FIELDS = ["study.seeds=2", "study.subsets=[3]", "study.strategies=[uniform, de]", "limits.retries=10"]
READ = "import os, sys, wetakd.storage.atomic_store as s; " + (
    "sys.stdout.buffer.write(s.Store(os.environ['WETAKD_STORAGE']).read_file(sys.argv[1]))"
)


def command(name: str, *more: str) -> list[str]:
    fields = [f"study.name={name}", *FIELDS, *more]
    words = [part for field in fields for part in ("--set", field)]
    return [sys.executable, "-m", "wetakd", "run", str(ROOT / "jobs" / "digits.yaml"), *words]


def start(host: Host, log: Path, *words: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        return subprocess.Popen(host.command(*words), env=host.environment, stdout=stream, stderr=stream)


def table(host: Host, study: str) -> pd.DataFrame:
    path = f"studies/{study}/trials.parquet"
    words = host.command(sys.executable, "-c", READ, path)
    raw = subprocess.run(words, env=host.environment, capture_output=True, check=True)
    return pd.read_parquet(io.BytesIO(raw.stdout))


def results(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=NOT_A_RESULT).reset_index(drop=True)


def statuses(host: Host) -> dict[str, int]:
    script = (
        "import json, collections, mlflow; c = mlflow.MlflowClient(); e = c.get_experiment_by_name('wetakd'); "
        "runs = c.search_runs([e.experiment_id], max_results=1000); "
        "print(json.dumps(collections.Counter(run.info.status for run in runs)))"
    )
    counts: dict[str, int] = json.loads(host.run(sys.executable, "-c", script).splitlines()[-1])
    return counts


def test_two_hosts_give_the_table_of_one_and_so_does_one_that_loses_the_other(tmp_path: Path) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "WETAKD_", "MLFLOW_"))}
    alone = subprocess.run(
        command("hosts", f"storage={tmp_path}/runs"), env=clean, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    expected = pd.read_parquet(tmp_path / "runs" / "studies" / "hosts" / "trials.parquet")

    with network_hosts.two_hosts(tmp_path) as (head, worker):
        # Both hosts compute: one CPU each.
        study = start(head, tmp_path / "both.log", *command("hosts"))
        worked = set()
        while study.poll() is None:
            worked |= {host.name for host in (head, worker) if host.works()}
            time.sleep(0.5)
        assert study.returncode == 0, (tmp_path / "both.log").read_text()
        assert worked == {head.name, worker.name}
        pd.testing.assert_frame_equal(results(table(head, "hosts")), results(expected))
        assert set(statuses(head)) == {"FINISHED"}

        # Everything anew under a storage of its own; the cable is cut while the other host computes.
        fresh = network_hosts.STORAGE.replace("s3://wetakd?", "s3://wetakd/fresh?")
        environment = head.environment | {"WETAKD_STORAGE": fresh}
        lone = Host(head.name, head.address, head.holder, environment)
        study = start(lone, tmp_path / "cut.log", *command("hosts"))
        while not (worker.works() and "networks" in (tmp_path / "cut.log").read_text()):
            assert study.poll() is None, (tmp_path / "cut.log").read_text()
            time.sleep(0.2)
        # Ray gives the host up after seconds, but a call under way only after seven minutes of silence.
        network_hosts.ip("-n", worker.name, "link", "set", worker.name, "down")
        assert study.wait(timeout=1200) == 0, (tmp_path / "cut.log").read_text()
        pd.testing.assert_frame_equal(results(table(lone, "hosts")), results(expected))
