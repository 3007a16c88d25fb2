"""What a person sees of a finished study, in a real browser: MLflow's pages behind the printed link, and the report."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import mlflow
import pytest

from tests.integration.browser import shown
from tests.ports import free_port

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def printed_link(finished: tuple[Path, Any]) -> Iterator[str]:
    """Of `wetakd ui`, while its server runs."""
    folder, _ = finished
    words = ["ui", "small", "--storage", str(folder / "runs"), "--port", str(free_port())]
    command = [sys.executable, "-m", "wetakd", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as told:
        assert told.stdout is not None
        yield next(line.strip() for line in told.stdout if "/#/experiments/" in line)
        told.terminate()


def test_the_printed_link_opens_the_trials_flat_and_best_first(printed_link: str, finished: tuple[Path, Any]) -> None:
    page = shown(printed_link)
    _, result = finished
    best = result.table.sort_values("student_choose_accuracy", ascending=False).iloc[0]
    names = list(
        dict.fromkeys(
            re.findall(
                r">((?:no distillation|teacher alone|single|DGKD-style|uniform|random search|DE)[^<]* s\d)<", page
            )
        )
    )
    assert len(names) >= 10
    scores = {run.info.run_name: run.data.metrics["student_choose_accuracy"] for run in _trials(finished)}
    assert scores[names[0]] == best["student_choose_accuracy"]
    assert not re.search(r">(first|second)<", page)
    assert "student_choose_accuracy" in page


def test_charts_begin_with_the_student_and_its_curves(finished: tuple[Path, Any]) -> None:
    """MLflow sets a trial's charts by the names of its metrics."""
    for run in _trials(finished):
        names = sorted(run.data.metrics)
        assert names[:4] == ["loss", "lr", "student_choose_accuracy", "student_choose_nll"]
        assert all(name.startswith(("student_", "train_", "weights_")) for name in names[2:])


def test_the_compare_page_opens_on_strategy_count_and_the_headline_metric(
    printed_link: str, finished: tuple[Path, Any]
) -> None:
    trials = [run.info.run_id for run in _trials(finished)]
    base = printed_link.split("/#/")[0]
    page = shown(f"{base}/#/compare-runs?runs={quote(json.dumps(trials))}&experiments={quote(json.dumps(['1']))}")
    chosen = re.findall(r'selection-item-content">([^<]*)<', page)
    assert chosen == ["assistants", "num_assistants", "strategy", "student_choose_accuracy"]


def test_the_run_of_the_study_says_its_verdict(printed_link: str, finished: tuple[Path, Any]) -> None:
    page = shown(f"{printed_link.split('?')[0]}/{_run_of_the_study(finished)}")
    assert "The declared contrast" in page
    assert "primary_difference" in page


def test_the_winners_page_says_what_it_is(printed_link: str, finished: tuple[Path, Any]) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{finished[0]}/runs/mlflow.db")
    (model,) = client.search_logged_models(["1"])
    page = shown(f"{printed_link.split('/runs?')[0]}/models/{model.model_id}")
    assert "An image classifier" in page


def test_the_report_opens_from_a_file(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    page = shown((folder / "runs/studies/small/report.html").as_uri())
    assert "DE against uniform over first+second" in page
    assert page.count("<svg") + page.count("data:image/svg+xml") >= 5
    assert result.report.findings.results.study in page


def _trials(finished: tuple[Path, Any]) -> list[Any]:
    client = mlflow.MlflowClient(f"sqlite:///{finished[0]}/runs/mlflow.db")
    return list(client.search_runs(["1"], "tags.kind = 'trial'"))


def _run_of_the_study(finished: tuple[Path, Any]) -> str:
    client = mlflow.MlflowClient(f"sqlite:///{finished[0]}/runs/mlflow.db")
    (run,) = client.search_runs(["1"], "tags.kind = 'study'")
    return str(run.info.run_id)
