"""A job of a real head that demands a token: no entry without it, and the exit code of what went wrong.

What takes minutes, a stop in the middle and going on, is in tests/slow/test_job_submission.py.
"""

import json
from pathlib import Path

import pytest

from tests.integration import ray_heads
from tests.integration.ray_heads import DIGITS, wetakd


@pytest.mark.timeout(300)
def test_a_stranger_is_refused_and_a_users_mistake_comes_back_as_such(tmp_path: Path) -> None:
    with ray_heads.head() as client:
        # Without the token: one line.
        stranger = client | {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": ""}
        refused = wetakd(stranger, "status")
        assert refused.returncode == 2
        assert "wants another token" in refused.stderr
        assert refused.stderr.count("\n") == 1
        wrong_token = wetakd(client | {"RAY_AUTH_TOKEN": "0" * 64}, "status")
        assert wrong_token.returncode == 2
        assert "wants another token" in wrong_token.stderr

        # The user's mistake, found by the job: its own exit code and its own line.
        wrong = wetakd(client, "submit", DIGITS, "--follow", "--set", "storage=runs")
        assert wrong.returncode == 2, wrong.stdout + wrong.stderr
        assert (
            "wetakd: storage: 'runs' is a relative path, but a submitted job runs in a temporary folder" in wrong.stdout
        )
        (state,) = json.loads(wetakd(client, "status", "--json").stdout)
        assert (state["status"], state["exit_code"], state["study"]) == ("FAILED", 2, "digits")
        assert "exit code 2" in state["message"]
        assert wrong.stdout.startswith(f"{state['job']}\n")

        unknown = wetakd(client, "stop", "nothing")
        assert unknown.returncode == 2
        assert "job 'nothing': the cluster knows no such job" in unknown.stderr
        outside = wetakd(client, "submit", DIGITS, "--working-dir", str(tmp_path))
        assert outside.returncode == 2
        assert f"--working-dir: {str(tmp_path)!r} must hold the study file" in outside.stderr
