"""A study on a bucket of Google Cloud Storage, played by a server on this machine."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests import reduced_job_files
from tests.ports import free_port
from wetakd import Study
from wetakd.config.study_file import load_study_file
from wetakd.storage.atomic_store import Store


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    """The URI of an empty one."""
    pytest.importorskip("gcp_storage_emulator")
    port = free_port()
    served = ["--host=127.0.0.1", f"--port={port}", "--in-memory", "--default-bucket=wetakd"]
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", *served]
    with (tmp_path / "bucket.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline, (tmp_path / "bucket.log").read_text()
        time.sleep(0.2)
    yield f"gs://anonymous@wetakd/runs?endpoint_override=127.0.0.1:{port}&scheme=http&retry_limit_seconds=20"
    server.kill()
    server.wait()


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(900)
def test_everything_lies_in_the_bucket_and_gives_the_table_of_a_folder(bucket: str, tmp_path: Path) -> None:
    def study(storage: str) -> Study:
        # The teacher by a worker group: Ray Train's state goes there, too.
        fields = {"storage": storage, "mlflow.enabled": False, "teacher.workers": 1}
        fields |= {"study.subsets": "[3]", "study.strategies": "[uniform, de]"}
        return Study(
            load_study_file(reduced_job_files.path("digits"), reduced_job_files.reduced("digits", tmp_path, **fields))
        )

    result = study(bucket).run()
    assert result.exit_code == 0
    assert result.num_networks_trained == 4
    files = Store(bucket).list()
    for part in ("networks/", "caches/", "students/", "studies/digits/trials.parquet"):
        assert any(path.startswith(part) for path in files), part

    again = study(bucket).run()
    assert (again.num_networks_trained, again.num_students_trained) == (0, 0)
    folder = study(str(tmp_path / "runs")).run()
    times = ["search_seconds", "train_seconds"]
    for other in (again, folder):
        pd.testing.assert_frame_equal(result.table.drop(columns=times), other.table.drop(columns=times))
