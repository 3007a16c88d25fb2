"""One Ray cluster, one MLflow server and one finished study for the whole folder."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.commands import Wetakd, wait_until
from tests.contract.services import MlflowServer, ray_cluster

_FOLDER = Path(__file__).parent
_TIMEOUT_S = 900.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test also runs the shared studies, which takes minutes on a busy machine."""
    for item in items:
        if item.path.is_relative_to(_FOLDER):
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest.fixture(scope="session")
def cluster() -> Iterator[dict[str, str]]:
    """The environment of a process that joins the cluster."""
    with ray_cluster() as environment:
        yield environment


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class Interrupted:
    """A study that runs on while its MLflow server is away."""

    wetakd: Wetakd
    server: MlflowServer
    driver: subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def interrupted(
    cluster: dict[str, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Interrupted | None]:
    """A study whose MLflow server is killed when its first network is stored.

    The study waits for the server for two minutes before it gives up, so it is started before the first test and
    waits in the background. None where no selected test needs it.
    """
    if not any("interrupted" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    server = MlflowServer(tmp_path_factory.mktemp("mlflow-away"))
    server.start()
    driver = None
    try:
        server.wait()
        environment = cluster | {"MLFLOW_TRACKING_URI": server.uri}
        wetakd = Wetakd(tmp_path_factory.mktemp("away"), environment, "away")
        driver = wetakd.start("--quiet")
        wait_until(lambda: wetakd.layout.committed("networks"), driver, "a network was stored")
        server.kill()
        yield Interrupted(wetakd, server, driver)
    finally:
        if driver is not None and driver.poll() is None:
            driver.kill()
            driver.wait()
        server.kill()


@dataclass(frozen=True)
class Finished:
    """The undisturbed study: its command, and what its first run returned."""

    wetakd: Wetakd
    first: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def finished(
    cluster: dict[str, str],
    interrupted: Interrupted | None,
    mlflow_server: MlflowServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Finished:
    """The study from nothing. Its storage and its MLflow come from the environment."""
    wetakd = Wetakd(tmp_path_factory.mktemp("finished"), cluster | {"MLFLOW_TRACKING_URI": mlflow_server.uri})
    return Finished(wetakd, wetakd.run("--json"))


@pytest.fixture
def another(finished: Finished, tmp_path: Path) -> Wetakd:
    """The command with an empty storage folder."""
    return Wetakd(tmp_path, finished.wetakd.environment)
