"""`wetakd submit`, `status` and `stop` without a cluster; with one: tests/integration/test_job_submission.py."""

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.ports import free_port
from wetakd import cli, jobs
from wetakd.errors import UserError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set and removed by hand, so that what the code puts there goes again.
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["wetakd", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run


@pytest.mark.parametrize("words", [("status",), ("stop", "job"), ("submit", "study.yaml"), ("status", "job", "--json")])
def test_a_cluster_that_is_not_there_costs_one_line(
    words: tuple[str, ...], call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert call(*words, "--address", address) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"wetakd: --address: '{address}' does not answer as Ray's dashboard; start the cluster, or open the tunnel "
        "to it\n"
    )


@pytest.mark.parametrize("address", ["localhost:8265", "ray://host:10001", "auto"])
def test_an_address_that_is_no_dashboards_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"^--address: '.*' must be that of the dashboard, such as http://127"):
        jobs.Cluster(address)


def details(**fields: object) -> SimpleNamespace:
    given = {
        "submission_id": "digits-1",
        "job_id": None,
        "metadata": {"wetakd.study": "digits"},
        "status": SimpleNamespace(value="RUNNING"),
        "message": None,
        "start_time": None,
        "driver_exit_code": None,
    }
    return SimpleNamespace(**given | fields)


@pytest.mark.parametrize(
    ("status", "is_over"),
    [("PENDING", False), ("RUNNING", False), ("STOPPED", True), ("SUCCEEDED", True), ("FAILED", True)],
)
def test_when_a_job_is_over(status: str, is_over: bool) -> None:
    state = jobs._state(details(status=SimpleNamespace(value=status), start_time=1500))
    assert state.is_over is is_over
    assert (state.job, state.study, state.message, state.started) == ("digits-1", "digits", "", 1.5)


@pytest.mark.parametrize(
    "uri",
    ["http://me:secret@mlflow:5000", "s3://KEY:secret@bucket/runs", "s3://bucket?access_key=KEY&secret_key=secret"],
)
def test_credentials_are_not_sent_to_where_all_can_read_them(uri: str) -> None:
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: has credentials in it") as refused:
        jobs.refuse_secrets({"MLFLOW_TRACKING_URI": uri})
    assert "secret" not in str(refused.value)


def test_plain_addresses_may_be_sent() -> None:
    storage = "s3://wetakd?endpoint_override=storage:8333&scheme=http&region=us-east-1&allow_bucket_creation=true"
    harmless = ["teacher.placement={cpus: 2, labels: {pool: networks}}", f"storage={storage}", "http://mlflow:5000"]
    jobs.refuse_secrets({str(place): text for place, text in enumerate(harmless)})


def test_help_names_the_three_commands_and_stays_quick(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--help") == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in ("submit", "status", "stop"))
