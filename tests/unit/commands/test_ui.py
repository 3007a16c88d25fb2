"""The link into MLflow's pages, and whether its server is up."""

import http.server
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from tests.ports import free_port
from wetakd.commands.ui import answers, link, serve, show
from wetakd.common.errors import UserError

ANSWERS = {
    "/health": b"OK",
    "/api/2.0/mlflow/experiments/search": b'{"experiments": []}',
    "/api/2.0/mlflow/experiments/get-by-name": b'{"experiment": {"experiment_id": "7", "name": "e"}}',
}


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if "hang-up" in query:
            return
        self.send_response(200 if path in ANSWERS else 404)
        self.end_headers()
        self.wfile.write(ANSWERS.get(path, b""))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def base() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_server_on_loopback_is_asked_directly_whatever_the_proxy(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert answers(base)
    assert not answers(f"{base}/elsewhere")
    assert not answers("http://127.0.0.1:9")


def test_the_link_filters_and_sorts_the_trials_of_one_study() -> None:
    address = urlsplit(link("http://127.0.0.1:5000/", "7", "0123abcd", "aced"))
    page, _, query = address.fragment.partition("?")
    assert page == "/experiments/7/runs"
    asked = parse_qs(query)
    (which,) = asked["searchFilter"]
    assert which == "tags.`wetakd.study_id` = '0123abcd' and tags.`wetakd.question` = 'aced' and tags.kind = 'trial'"
    assert asked["orderByKey"] == ["metrics.`student_choose_accuracy`"]
    assert asked["orderByAsc"] == ["false"]


def test_a_servers_link_has_no_credentials(base: str) -> None:
    said: list[str] = []
    show(base.replace("//", "//me:s3cr3t@"), "e", "0123abcd", "aced", 5000, said.append)
    assert said == [link(base, "7", "0123abcd", "aced")]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_server_that_fails_costs_one_line_without_credentials(base: str, is_there: bool) -> None:
    address = base if is_there else f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=r"^mlflow\.tracking_uri: 'http://127\.0\.0\.1:\d+' does not answer") as error:
        show(address.replace("//", "//me:s3cr3t@"), "hang-up", "0123abcd", "aced", 5000, print)
    assert "s3cr3t" not in str(error.value)
    assert error.value.__suppress_context__


def test_a_databases_password_is_not_on_the_command_line_of_its_server() -> None:
    uri = f"postgresql://me:s3cr3t@127.0.0.1:{free_port()}/mlflow"
    server = serve(uri, free_port())
    try:
        process = psutil.Process(server.pid)
        assert process.environ()["MLFLOW_BACKEND_STORE_URI"] == uri
        assert "s3cr3t" not in " ".join(process.cmdline())
    finally:
        server.kill()
        server.wait()
