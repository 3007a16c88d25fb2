"""`wetakd submit`, `status` and `stop` without a cluster; with one: tests/integration/test_job_submission.py."""

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ports import free_port
from wetakd.cluster import job_submission
from wetakd.commands import job_commands, main
from wetakd.common.errors import UserError
from wetakd.config.study_file import embedded_study


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
            main.main()
        return int(ended.value.code or 0)

    return run


@pytest.mark.parametrize("words", [("status",), ("stop", "job"), ("submit", "study.yaml"), ("status", "job", "--json")])
def test_a_cluster_that_is_not_there_costs_one_line(
    words: tuple[str, ...],
    call: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "study.yaml").write_text(embedded_study())
    monkeypatch.chdir(tmp_path)
    port = free_port()
    assert call(*words, "--address", f"http://me:s3cr3t@127.0.0.1:{port}") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"wetakd: --address: 'http://127.0.0.1:{port}' does not answer as Ray's dashboard; start the cluster, or open "
        "the tunnel to it\n"
    )


@pytest.mark.parametrize(("status", "body"), [(404, b"nothing here"), (200, b"{}"), (200, b"[]"), (200, b"<html>")])
def test_a_server_that_is_not_rays_costs_one_line(status: int, body: bytes) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match="does not answer as Ray's dashboard"):
            job_submission.Cluster(f"http://127.0.0.1:{server.server_port}").jobs()
        server.shutdown()


def test_a_study_file_that_is_not_there_is_complained_of_before_the_cluster(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("submit", "nosuch.yaml", "--address", f"http://127.0.0.1:{free_port()}") == 2
    assert "nosuch.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["localhost:8265", "ray://me:s3cr3t@host:10001", "me:s3cr3t@host:8265", "auto"])
def test_an_address_that_is_no_dashboards_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"^--address: '.*' must be that of the dashboard, such as http://127") as told:
        job_submission.Cluster(address)
    assert "s3cr3t" not in str(told.value)


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
    state = job_submission._state(details(status=SimpleNamespace(value=status), start_time=1500))
    assert state.is_over is is_over
    assert (state.job, state.study, state.message, state.started) == ("digits-1", "digits", "", 1.5)


@pytest.mark.parametrize(
    "uri",
    ["http://me:secret@mlflow:5000", "s3://KEY:secret@bucket/runs", "s3://bucket?access_key=KEY&secret_key=secret"],
)
def test_credentials_are_not_sent_to_where_all_can_read_them(uri: str) -> None:
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI: has credentials in it") as refused:
        job_submission.refuse_secrets({"MLFLOW_TRACKING_URI": uri})
    assert "secret" not in str(refused.value)


def test_plain_addresses_may_be_sent() -> None:
    storage = "s3://wetakd?endpoint_override=storage:8333&scheme=http&region=us-east-1&allow_bucket_creation=true"
    harmless = ["teacher.placement={cpus: 2, labels: {pool: networks}}", f"storage={storage}", "http://mlflow:5000"]
    job_submission.refuse_secrets({str(place): text for place, text in enumerate(harmless)})


def test_help_names_the_three_commands_and_stays_quick(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--help") == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in ("submit", "status", "stop"))


def test_ctrl_c_says_how_to_follow_again_and_that_the_job_goes_on(
    call: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_submission.Cluster, "__init__", lambda *_: None)
    monkeypatch.setattr(job_submission.Cluster, "submit", lambda *_, **__: "digits-1")
    monkeypatch.setattr(job_submission.Cluster, "follow", interrupted)
    for words, address in ((("--address", "http://head:8265"), " --address http://head:8265"), ((), "")):
        assert call("submit", "study.yaml", "--follow", *words) == 130
        assert capsys.readouterr().err == (
            f"wetakd: the job goes on; look at it with `wetakd status digits-1{address}`, end it with "
            f"`wetakd stop digits-1{address}`\n"
        )


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("", ""),
        ("Currently running.\nreally", "Currently running."),
        (
            "Job failed due to an application error, last available logs (truncated to 20,000 chars):\n"
            "wetakd: first\nwetakd: storage: 'runs' is a relative path\nsomething of Ray's\n",
            "wetakd: storage: 'runs' is a relative path",
        ),
    ],
)
def test_status_shows_our_own_complaint_where_there_is_one(
    message: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job_commands._print_state(job_submission._state(details(message=message)))
    assert capsys.readouterr().out == f"{'digits-1':<32} {'RUNNING':<10} {shown}".rstrip() + "\n"


class Client:
    """Keeps what would be sent, or refuses it as Ray's dashboard does."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
        self.sent: dict[str, Any] = {}

    def submit_job(self, **sent: Any) -> str:
        if self.refusal:
            raise RuntimeError(self.refusal)
        self.sent = sent
        return "digits-1"


def cluster_of(client: Client) -> job_submission.Cluster:
    cluster = object.__new__(job_submission.Cluster)
    cluster._client, cluster._address = client, "http://head:8265"
    return cluster


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WETAKD_STORAGE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "study.yaml").write_text(embedded_study())
    return "study.yaml"


@pytest.mark.parametrize(
    ("storage", "excluded"),
    [
        ("s3://bucket/runs", []),
        ("/mnt/shared/runs", []),
        ("kept/there", ["/kept/there"]),
        (".", []),
    ],
)
def test_what_lies_in_the_folder_but_is_no_part_of_the_study_is_not_uploaded(
    file: str, storage: str, excluded: list[str]
) -> None:
    client = Client()
    cluster_of(client).submit(file, [f"storage={storage}"])
    assert client.sent["runtime_env"]["excludes"] == [".git", ".venv", "/runs", *excluded]


def test_a_job_has_the_time_to_close_its_runs_and_is_told_where_studies_go(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WETAKD_STORAGE", "s3://bucket/runs")
    client = Client()
    cluster_of(client).submit(file)
    assert client.sent["runtime_env"]["env_vars"] == {
        "RAY_JOB_STOP_WAIT_TIME_S": "30",
        "WETAKD_STORAGE": "s3://bucket/runs",
    }


@pytest.mark.parametrize(
    "refusal",
    [
        "Request failed with status code 413: Maximum request body size 104857600 exceeded",
        "Request failed with status code 500: Traceback (most recent call last):\n  File ...\n"
        "ValueError: Package size (600.00MiB) exceeds the maximum size of 500.00MiB. To exclude large files, ...",
    ],
)
def test_a_folder_that_is_too_large_costs_one_line(file: str, tmp_path: Path, refusal: str) -> None:
    with pytest.raises(UserError) as error:
        cluster_of(Client(refusal)).submit(file)
    assert str(error.value) == (
        f"--working-dir: {str(tmp_path)!r} is too large to be uploaded; put what the study does not need elsewhere, or "
        "name it in .rayignore"
    )


def test_what_else_goes_wrong_keeps_its_traceback(file: str) -> None:
    with pytest.raises(RuntimeError, match="status code 500: a bug"):
        cluster_of(Client("Request failed with status code 500: a bug")).submit(file)
