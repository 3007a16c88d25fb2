"""A study leaves the process that runs it, and the temporary folder that it shares with others, as they were."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(600)
def test_a_study_restores_the_state_of_its_process_and_makes_no_folder_in_the_shared_temporary_folder(
    tmp_path: Path,
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
    # The folder of a driver in another container: no process here has this number.
    shared = tmp_path / "shared"
    theirs = shared / "wetakd-4999999-abc"
    theirs.mkdir(parents=True)
    environment |= {"TMPDIR": str(shared), "RAY_TMPDIR": "/tmp"}  # a short path, for Ray's sockets
    command = [sys.executable, "-m", "tests.integration.process_state", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (whole, broken), made = json.loads(done.stdout.splitlines()[-1])
    assert whole == {}
    assert broken == {}
    assert made == []
    assert [path.name for path in shared.glob("wetakd*")] == [theirs.name]
