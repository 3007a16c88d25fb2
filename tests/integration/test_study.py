"""A whole study on a real cluster: the table, storage, MLflow, and what is left after the driver was killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import yaml

from tests.integration.small_study import results, study, tree
from tests.integration.tiny_studies import NET
from wetakd import Study, UserError
from wetakd.common.progress import QuietReporter, Stage
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import Lease

pytestmark = pytest.mark.timeout(600)


def test_the_table_has_a_row_a_trial_and_the_winner_was_chosen_on_choose(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    table = pd.read_parquet(folder / "runs/studies/small/trials.parquet")
    # Four controls (single counts twice) and three strategies over the pair, with two seeds each.
    assert len(table) == (5 + 3) * 2
    assert table["error"].isna().all()
    assert table["student_test_accuracy"].between(0, 1).all()
    taught = table[table["strategy"] != "none"]
    assert [sum(weights) for weights in taught["weights"]] == pytest.approx([1.0] * len(taught))
    assert table.loc[table["strategy"] == "none", "weights"].isna().all()
    assert table.loc[table["strategy"] == "de", "evaluations"].gt(1).all()
    draws = table.loc[table["strategy"] == "random_search", "evaluations"].tolist()
    assert draws == table.loc[table["strategy"] == "de", "evaluations"].tolist()
    means = table.groupby(["strategy", table["assistants"].map(tuple)])["student_choose_accuracy"].mean()
    summary = json.loads((folder / "runs/studies/small/summary.json").read_text())
    assert summary["winner"]["mean_choose_accuracy"] == pytest.approx(means.max())
    assert result.exit_code == 0
    assert (folder / "runs" / result.checkpoint / "manifest.json").is_file()


def test_the_logit_cache_took_a_pass_an_image_where_the_usual_loop_takes_one_a_step(finished: tuple[Path, Any]) -> None:
    _, result = finished
    spent = result.results.spending
    num_fit = 313  # of 600, the second view of which is in the logit cache as well
    assert spent.bank_passes == 3 * (600 + num_fit)
    students = result.table.drop_duplicates("student_key")
    assert spent.usual_passes == 3 * num_fit * students["num_assistants"].sum()
    assert spent.student_core_seconds == pytest.approx(students["train_seconds"].sum())


def test_equal_students_were_trained_once(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    assert result.num_students_trained == result.table["student_key"].nunique()
    assert len(list((folder / "runs/students").iterdir())) == result.num_students_trained


def test_the_report_is_rebuilt_from_storage(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    report = folder / "runs/studies/small/report.txt"
    before = report.read_text()
    report.unlink()
    command = [sys.executable, "-m", "wetakd", "report", "small", "--storage", str(folder / "runs")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == before.strip() == result.report.text.strip()
    assert report.read_text() == before


def test_mlflow_has_one_finished_run_for_each_network_and_trial_below_the_study(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    client = mlflow.MlflowClient(f"sqlite:///{folder}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("wetakd")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    kinds = [run.data.tags["kind"] for run in runs]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"study": 1, "teacher": 1, "assistant": 2, "trial": 16}
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if run.data.tags["kind"] == "study"]
    below = {run.data.tags.get("mlflow.parentRunId") for run in runs if run is not parent}
    assert below == {parent.info.run_id}
    assert set(result.table["mlflow_run_id"]) == {r.info.run_id for r in runs if r.data.tags["kind"] == "trial"}
    for run in runs:
        if run is not parent:
            kind = run.data.tags["kind"]
            name = "student_choose_accuracy" if kind == "trial" else "choose_accuracy"
            curve = client.get_metric_history(run.info.run_id, name)
            num_epochs = 6 if kind == "teacher" else 3
            assert sorted(point.step for point in curve) == list(range(1, num_epochs + 1))
    row = result.table.iloc[-1]
    shown = client.get_run(row["mlflow_run_id"]).data
    assert shown.metrics["student_test_accuracy"] == row["student_test_accuracy"]
    assert shown.metrics["student_choose_accuracy"] == row["student_choose_accuracy"]
    assert shown.params["strategy"] == row["strategy"]
    assert int(shown.params["total_assistant_parameters"]) == row["assistant_parameters"]
    assert sum(map(int, shown.tags["assistant_parameters"].split("+"))) == row["assistant_parameters"]
    path = client.download_artifacts(parent.info.run_id, "trials.csv")
    weights = dict(zip(result.table["student_key"], result.table["weights"], strict=True))
    told = pd.read_csv(path).set_index("student_key")["weights"].dropna()
    assert {key: json.loads(text) for key, text in told.items()} == {
        k: list(w) for k, w in weights.items() if w is not None
    }
    assert parent.data.metrics["system/cluster_nodes"] == 1
    assert [data.dataset.name for data in client.get_run(parent.info.run_id).inputs.dataset_inputs] == ["digits"]


def test_the_winner_predicts_in_a_fresh_process(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    code = """
import sys, mlflow, numpy as np, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
(model,) = mlflow.search_logged_models(experiment_ids=["1"], output_format="list")
images = np.zeros((3, 1, 8, 8), np.uint8)
logits = mlflow.pyfunc.load_model(f"models:/{model.model_id}").predict(images)
print(np.asarray(logits).shape)
"""
    command = [sys.executable, "-c", code, f"sqlite:///{folder}/runs/mlflow.db"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    assert told.stdout.split("\n")[0] == "(3, 10)", told.stderr
    assert result.winner is not None


def test_a_second_run_does_nothing_and_doubles_nothing(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    database = f"sqlite:///{folder}/runs/mlflow.db"

    def num_runs() -> int:
        client = mlflow.MlflowClient(database)
        return len(client.search_runs(["1"], max_results=1000))

    before = num_runs()
    again = Study(study(folder)).run()
    assert (again.num_networks_trained, again.num_students_trained) == (0, 0)
    pd.testing.assert_frame_equal(results(again.table), results(result.table))
    assert num_runs() == before


def test_what_was_tampered_with_after_the_end_is_made_again(finished: tuple[Path, Any]) -> None:
    folder, result = finished
    kinds = {"students": "weights-*", "evaluations": "correct-*", "caches": "logits-*"}
    record = folder / "runs/studies/small/study.json"
    recorded = record.read_bytes()
    blobs = [next((folder / "runs" / kind).glob(f"*/{name}")) for kind, name in kinds.items()]
    sound = [blob.read_bytes() for blob in blobs]
    for blob, content in zip(blobs, sound, strict=True):
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    stages = Stages()
    again = Study(study(folder), reporter=stages).run()
    assert (again.num_networks_trained, again.num_students_trained) == (0, 1)
    # All but that one student is done when its stage begins, and all of it when it ends.
    assert stages.steps["networks"][-1] == (stages.totals["networks"],) * 2
    total, num_epochs = stages.totals["students"], 3
    assert (total - num_epochs,) * 2 in stages.steps["students"]
    assert stages.steps["students"][-1] == (total, total - num_epochs)
    for blob, name, content in zip(blobs, kinds.values(), sound, strict=True):
        assert [made.read_bytes() for made in blob.parent.glob(name)] == [content]
    pd.testing.assert_frame_equal(results(again.table), results(result.table))
    record.unlink()
    Study(study(folder)).run()
    assert record.read_bytes() == recorded


def test_a_changed_file_under_an_old_name_is_refused_unless_revised(finished: tuple[Path, Any]) -> None:
    folder, _ = finished
    changed = study(folder, weights={"objective": "log_loss"})
    with pytest.raises(UserError, match=r"^weights\.objective: differs .*--revise"):
        Study(changed).run()


def test_a_revised_study_answers_the_new_question_and_is_then_the_one_on_record(
    finished: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, result = finished
    shutil.copytree(folder / "runs", tmp_path / "runs")
    block = tree(tmp_path)["study"] | {"seeds": 1, "primary": {"strategy": "random_search"}}
    smaller = study(tmp_path, study=block)
    revised = Study(smaller, revise=True).run()
    assert revised.num_students_trained == 0
    assert len(revised.table) == len(result.table) / 2
    assert revised.results.primary == ("random_search", "uniform")
    again = Study(smaller).run()
    pd.testing.assert_frame_equal(again.table, revised.table)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs(["1"], f"tags.`wetakd.question` = '{smaller.question}'", max_results=1000)
    kinds = [run.data.tags["kind"] for run in runs]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"study": 1, "teacher": 1, "assistant": 2, "trial": 8}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.info.run_id for run in runs if run.data.tags["kind"] == "trial"} == set(again.table["mlflow_run_id"])


def test_a_request_that_the_cluster_can_never_meet_fails_before_anything_trains(
    ray_cluster: None, tmp_path: Path
) -> None:
    config = study(tmp_path, student={**NET, "placement": {"cpus": 64}})
    with pytest.raises(UserError, match=r"^student\.placement: 1 worker\(s\) of 64 CPU can never run here"):
        Study(config).run()
    assert not (tmp_path / "runs/networks").exists()


def test_a_network_that_diverges_costs_its_arms_and_nothing_else(ray_cluster: None, tmp_path: Path) -> None:
    wild = {**NET, "recipe": {**NET["recipe"], "lr": 1e30, "epochs": 1}}
    calm = {**NET, "recipe": {**NET["recipe"], "epochs": 1}}
    blocks = {"teacher": calm, "student": calm, "assistants": {"wild": wild, "calm": calm}}
    config = study(tmp_path, **blocks, mlflow={"enabled": False})
    result = Study(config).run()
    table = result.table.set_index(["strategy"])
    assert result.exit_code == 1
    assert table.loc[["de", "uniform", "dgkd"], "error"].str.contains("wild").all()
    assert table.loc[["none", "teacher"], "error"].isna().all()
    assert [network.name for network in result.report.findings.failures.networks] == ["wild"]
    assert (result.num_networks_failed, result.num_students_failed) == (1, 0)
    assert result.num_trials_failed == result.table["error"].notna().sum()
    singles = result.table[result.table["strategy"] == "single"]
    assert singles["error"].notna().tolist() == [names == ["wild"] for names in singles["assistants"]]
    # To run it again starts no cluster, says the same, and is not a success.
    stages = Stages()
    again = Study(config, reporter=stages).run()
    assert stages.titles == ["data"]
    assert (again.exit_code, again.num_networks_trained, again.num_students_trained) == (1, 0, 0)
    pd.testing.assert_frame_equal(results(again.table), results(result.table))
    command = [sys.executable, "-m", "wetakd", "report", "small", "--storage", str(tmp_path / "runs")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "network wild failed: training diverged in epoch 1" in " ".join(told.split())
    stages = Stages()
    retried = Study(config, reporter=stages, retry_failed=True).run()
    assert "networks" in stages.titles
    pd.testing.assert_frame_equal(results(retried.table), results(result.table))
    # And where no student is left at all.
    diverging = study(tmp_path, **blocks | {"student": wild}, mlflow={"enabled": False})
    result = Study(diverging, revise=True).run()
    assert result.exit_code == 1
    assert result.table["error"].notna().all()
    assert result.num_students_failed == result.table["student_key"].nunique() > 0
    assert result.winner is None


def test_a_halved_study_is_complete_without_the_checkpoints_of_its_pruned_students(
    ray_cluster: None, tmp_path: Path
) -> None:
    short = {**NET, "recipe": {**NET["recipe"], "epochs": 2}}
    sweep = {"sweep": {"student.recipe.lr": {"grid": [0.05, 1e-6]}}, "halving": {"min_epochs": 1, "factor": 2}}
    block = {"name": "small", "seeds": 1, "subsets": [2], "strategies": ["uniform", "de"], "controls": []} | sweep
    blocks = {"teacher": short, "student": short, "assistants": {"first": short, "second": short}}
    config = study(tmp_path, study=block, **blocks, mlflow={"enabled": False})
    watched = Stages()
    result = Study(config, reporter=watched).run()
    assert watched.steps["students"][-1][0] == watched.totals["students"]
    pruned = result.table.loc[result.table["stopped_at_epoch"].notna(), "student_key"]
    assert len(pruned)
    kept = {path.name for path in (tmp_path / "runs/students").iterdir()}
    command = [sys.executable, "-m", "wetakd", "gc", "--storage", str(tmp_path / "runs")]
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name for path in (tmp_path / "runs/students").iterdir()} == kept - set(pruned)
    stages = Stages()
    again = Study(config, reporter=stages).run()
    assert stages.titles == ["data"]
    pd.testing.assert_frame_equal(again.table, result.table)


def test_a_study_whose_driver_was_killed_ends_with_the_table_of_an_undisturbed_one(
    finished: tuple[Path, Any], tmp_path: Path
) -> None:
    """SIGKILL while the teacher learns; then Ctrl-C while students learn; then to the end."""
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree(tmp_path)))
    for address, how, code in (("networks/*/checkpoints", signal.SIGKILL, -9), ("students/*", signal.SIGINT, 130)):
        driver = _run(tmp_path)
        _wait_for(tmp_path / "runs", address, driver)
        driver.send_signal(how)
        assert driver.wait(timeout=60) == code
    assert _run(tmp_path).wait() == 0
    ended = pd.read_parquet(tmp_path / "runs/studies/small/trials.parquet")
    pd.testing.assert_frame_equal(results(ended), results(finished[1].table))
    runs = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db").search_runs(["1"], max_results=1000)
    assert len(runs) == 1 + 3 + 16
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_driver_that_gets_sigterm_says_so_and_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree(tmp_path)))
    driver = _run(tmp_path)
    _wait_for(tmp_path / "runs", "networks/*/checkpoints", driver)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(timeout=60) == 143
    assert (tmp_path / "log.txt").read_text().splitlines()[-1] == (
        "wetakd: ended by SIGTERM: run the same command again to go on from here"
    )
    runs = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db").search_runs(["1"])
    assert {run.info.status for run in runs} == {"KILLED"}


def test_a_study_outlives_the_reader_of_its_progress(tmp_path: Path) -> None:
    """`wetakd run 2>&1 | head -c 10`: the results are stored; 141, since nobody was there to read the table."""
    calm = {**NET, "recipe": {**NET["recipe"], "epochs": 1}}
    blocks = {"teacher": calm, "student": calm, "assistants": {"first": calm}, "mlflow": {"enabled": False}}
    blocks["study"] = {"name": "small", "seeds": 1}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree(tmp_path, **blocks)))
    run = f"{sys.executable} -m wetakd run {tmp_path}/study.yaml"
    script = f"{{ {run}; echo $? > {tmp_path}/code; }} 2>&1 | head -c 10"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    told = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ((tmp_path / "code").read_text(), len(told.stdout), told.stderr) == ("141\n", 10, "")
    table = pd.read_parquet(tmp_path / "runs/studies/small/trials.parquet")
    assert table["student_test_accuracy"].notna().all()


class Stages(QuietReporter):
    """Keeps the titles of the stages, their totals, and what is reported of each: done, and stored."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.totals: dict[str, float] = {}
        self.steps: dict[str, list[tuple[float, float]]] = {}

    @contextmanager
    def stage(self, title: str, total: float) -> Iterator[Stage]:
        self.titles.append(title)
        self.totals[title], self.steps[title] = total, []
        yield _Steps(self.steps[title])


class _Steps:
    def __init__(self, steps: list[tuple[float, float]]) -> None:
        self._steps = steps

    def step(self, done: float, what: str, stored: float = 0.0) -> None:
        self._steps.append((done, stored))


def _run(folder: Path) -> subprocess.Popen[bytes]:
    """`wetakd run` on a private cluster."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "wetakd", "run", str(folder / "study.yaml"), "--quiet"]
    with open(folder / "log.txt", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def _wait_for(folder: Path, pattern: str, driver: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while not any(folder.glob(pattern)):
        assert driver.poll() is None, "the driver ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_removes_the_temporary_folders_of_killed_drivers_of_its_study(finished: tuple[Path, Any]) -> None:
    folder, _ = finished
    left = folder / "runs/studies/small/tmp/wetakd-killed"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"torn")
    with (
        Lease(Store(str(folder / "runs")), "studies/small/lease.json"),
        pytest.raises(UserError, match="is running it"),
    ):
        Study(study(folder)).run()
    assert left.exists()  # another driver may be using it
    Study(study(folder)).run()
    assert not left.exists()
