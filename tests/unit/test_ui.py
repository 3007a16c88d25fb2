"""The link into MLflow's pages, and whether its server is up."""

import http.server
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from wetakd.ui import answers, link


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

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
    address = urlsplit(link("http://127.0.0.1:5000/", "7", "0123abcd"))
    page, _, query = address.fragment.partition("?")
    assert page == "/experiments/7/runs"
    asked = parse_qs(query)
    assert asked["searchFilter"] == ["tags.`wetakd.study_id` = '0123abcd' and tags.kind = 'trial'"]
    assert asked["orderByKey"] == ["metrics.`student_choose_accuracy`"]
    assert asked["orderByAsc"] == ["false"]
