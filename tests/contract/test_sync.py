"""What `wetakd sync` sends after MLflow was away."""

from __future__ import annotations

from tests.contract.commands import EXPERIMENT
from tests.contract.conftest import Finished, Interrupted
from tests.contract.services import MlflowServer, contents


def test_sync_completes_mlflow_after_its_server_was_away(
    finished: Finished, interrupted: Interrupted, mlflow_server: MlflowServer
) -> None:
    wetakd, server = interrupted.wetakd, interrupted.server
    assert interrupted.driver.wait(480) == 1, wetakd.log
    assert wetakd.results().equals(finished.wetakd.results())
    assert "sync" in wetakd.log

    complete = contents(mlflow_server.runs(EXPERIMENT, "contract"))
    server.start()
    server.wait()
    assert contents(server.runs(EXPERIMENT, "away")) != complete
    for _ in range(2):  # the second one has nothing to send
        synced = wetakd("sync", "away", "--storage", str(wetakd.layout.root), "--timeout", "60")
        assert synced.returncode == 0, synced.stderr
        assert contents(server.runs(EXPERIMENT, "away")) == complete
