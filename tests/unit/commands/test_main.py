"""The command line: what it prints, and the one line and exit code for everything that a user can get wrong."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from tests.unit.simulated_results import with_failed_networks, with_shared_failed_student
from wetakd.commands import main, run, validate
from wetakd.config.study_file import embedded_study, load_study_file
from wetakd.report.report import build_report
from wetakd.results.stored_results import Results
from wetakd.study import StudyResult


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WETAKD_STORAGE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def call(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["wetakd", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    return int(ended.value.code or 0)


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "png")
    return stream.getvalue()


def parquet(path: Path, images: list[bytes], labels: list[Any]) -> None:
    rows = [{"bytes": image, "path": None} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"img": pa.array(rows, kind), "label": pa.array(labels)}), path)


def pictures(num: int) -> list[bytes]:
    return [png(np.full((8, 8, 3), i, np.uint8)) for i in range(num)]


def study(**blocks: Any) -> str:
    tree = yaml.safe_load(embedded_study())
    del tree["splits"]["test"]
    data = {"source": "parquet", "train": "train.parquet", "test": "test.parquet"}
    Path("study.yaml").write_text(yaml.safe_dump(tree | {"data": data, "mlflow": {"enabled": False}} | blocks))
    return "study.yaml"


def write_data(images: list[bytes] | None = None, labels: list[Any] | None = None) -> None:
    good, classes = pictures(60), [i % 3 for i in range(60)]
    parquet(Path("train.parquet"), images or good, labels or classes)
    parquet(Path("test.parquet"), good, classes)


def broken(case: str) -> str:
    """Make one thing wrong; returns the file to run."""
    write_data()
    if case == "corrupt image":
        write_data(images=[*pictures(59), b"not an image"])
    elif case == "label out of range":
        write_data(labels=[i % 3 for i in range(59)] + [-1])
    elif case == "labels as text":
        write_data(labels=["cat"] * 60)
    elif case == "truncated file":
        Path("train.parquet").write_bytes(Path("train.parquet").read_bytes()[:-40])
    elif case == "no such data":
        Path("train.parquet").unlink()
    elif case == "empty split":
        write_data(images=pictures(6), labels=[0, 1, 2, 0, 1, 2])
    blocks: dict[str, Any] = {
        "no server": {"mlflow": {"tracking_uri": "http://127.0.0.1:9"}},
        "wrong option": {"student": {"model": {"name": "plain", "options": {"depth": 3}}}},
        "no such model": {"student": {"model": {"name": "nowhere.to:find"}}},
        "unwritable storage": {"storage": "/proc/nowhere"},
        "no such column": {
            "data": {"source": "parquet", "train": "train.parquet", "test": "test.parquet"}
            | {"image_column": "picture"}
        },
    }.get(case, {})
    return study(**blocks)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("corrupt image", "train.parquet"),
        ("label out of range", "-1"),
        ("labels as text", "label"),
        ("truncated file", "train.parquet"),
        ("no such data", "train.parquet"),
        ("empty split", "at least 3 are needed"),
        ("no server", "mlflow.tracking_uri"),
        ("wrong option", "student.model"),
        ("no such model", "nowhere"),
        ("unwritable storage", "storage"),
        ("no such column", "picture"),
    ],
)
def test_the_users_mistakes_get_one_line_and_exit_code_2_before_anything_trains(
    case: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = broken(case)
    assert call("run", file, "--quiet", monkeypatch=monkeypatch) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("wetakd: ")
    assert says in line
    assert not Path("runs/networks").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "--set", "study.sedes=3"], "study.sedes"),
        (["validate", "--set", "study.subsets=[4]"], "the pool has 3"),
        (["validate", "--set", "teacher.taught_by=[ta8]"], "circle"),
        (["plan", "--set", "student.model.options.depth=3"], "student.model"),
        (["report", "nobody"], "nobody"),
        (["ui", "nobody"], "nobody"),
        (["sync", "nobody"], "nobody"),
        (["weights", "scores.npy", "labels.npy", "--scores-are", "logits"], "scores.npy"),
    ],
)
def test_wrong_words_get_one_line_and_exit_code_2(
    words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert "Traceback" not in told.err


def test_an_unknown_option_exits_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--frobnicate", monkeypatch=monkeypatch) == 2
    assert "--frobnicate" in capsys.readouterr().err


def test_a_thread_that_cannot_be_interrupted_does_not_keep_the_command_alive() -> None:
    code = """
import threading, time
from wetakd.commands import main as cli
def interrupted(**_):
    threading.Thread(target=time.sleep, args=(600,)).start()
    raise KeyboardInterrupt
cli.commands = interrupted
cli.main()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 130
    assert "run the same command again" in told.stderr


def test_a_driver_that_gets_sigterm_ends_though_a_thread_is_blocked() -> None:
    """Ray has the driver exit with the signal's number; a thread that drives a worker group would hold it up."""
    code = """
import signal, sys, threading, time
from wetakd.commands import main as cli
def ended(**_):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    threading.Thread(target=time.sleep, args=(600,)).start()
    signal.raise_signal(signal.SIGTERM)
cli.commands = ended
cli.main()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 128 + signal.SIGTERM
    assert told.stderr == "wetakd: ended by SIGTERM: run the same command again to go on from here\n"


def test_our_own_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(validate, "load_study_file", lambda *_: 1 / 0)
    assert call("validate", monkeypatch=monkeypatch) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_plan_says_what_would_run_and_trains_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plan", monkeypatch=monkeypatch) == 0
    text = capsys.readouterr().out
    assert "4 to train, 0 found on storage" in text
    assert "90 trials of 30 recipes" in text
    assert text.endswith("\nNext: wetakd run\n")
    assert not Path("runs").exists()
    assert call("plan", "--json", monkeypatch=monkeypatch) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["num_trials"] == 90
    assert told.err == ""


def test_validate_reads_no_data(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("validate", study(), monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.startswith("digits: fine.")


def test_an_empty_storage_has_no_studies(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("ls", monkeypatch=monkeypatch) == 0
    assert call("gc", "--dry-run", monkeypatch=monkeypatch) == 0
    assert "0 item(s)" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["ls", "gc", "report digits", "ui digits", "sync digits", "export digits"])
def test_a_storage_that_cannot_be_read_is_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("no storage")
    assert call(*command.split(), "--storage", "file", monkeypatch=monkeypatch) == 2
    assert re.fullmatch(r"wetakd: storage: '.*/file' cannot be read .*\n", capsys.readouterr().err)


def test_gc_deletes_what_no_study_needs_but_not_in_a_dry_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from wetakd.common.number_format import format_bytes
    from wetakd.storage.atomic_store import Store

    Store("runs").commit("networks/orphan", {"weights.safetensors": b"x" * 5000}, {})
    Path("runs/kept").write_bytes(b"x" * 5000)
    held = Store("runs").size()
    assert call("gc", "--dry-run", monkeypatch=monkeypatch) == 0
    told = capsys.readouterr().out
    assert "networks/orphan" in told
    assert f"1 item(s), {format_bytes(held - 5000)} of {format_bytes(held)}, would be deleted" in told
    assert Path("runs/networks/orphan").is_dir()
    assert call("gc", monkeypatch=monkeypatch) == 0
    assert not Path("runs/networks/orphan").exists()


def test_weigh_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    np.save("scores.npy", rng.normal(size=(3, 200, 4)))
    np.save("labels.npy", rng.integers(0, 4, 200))
    words = ["weights", "scores.npy", "labels.npy", "--scores-are", "logits"]
    assert call(*words, monkeypatch=monkeypatch) == 0
    assert "greedy" in capsys.readouterr().out
    assert call(*words, "--strategy", "de", "--json", monkeypatch=monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", ["", "run", "plan", "validate", "report", "ui", "ls", "gc", "sync", "weights"])
def test_every_command_has_a_page_of_help(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*filter(None, [command]), "--help", monkeypatch=monkeypatch) == 0
    assert "Usage: wetakd" in capsys.readouterr().out


def test_help_needs_neither_torch_nor_ray_nor_mlflow() -> None:
    code = "import sys, wetakd.commands.main; print(sorted({'torch', 'ray', 'mlflow'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert told.stdout.strip() == "[]"


def test_the_next_command_can_be_typed_as_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WETAKD_STORAGE", raising=False)
    monkeypatch.setattr(sys, "argv", [".venv/bin/wetakd", "run"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run._next("ui", load_study_file(None)) == ".venv/bin/wetakd ui digits"
    elsewhere = load_study_file(None, ["storage=/my data/runs"])
    assert run._next("export", elsewhere) == ".venv/bin/wetakd export digits --storage '/my data/runs'"
    monkeypatch.setenv("WETAKD_STORAGE", "/my data/runs")
    monkeypatch.setattr(sys, "argv", ["jobs/study.py"])
    assert run._next("sync", elsewhere) == "wetakd sync digits"


@pytest.mark.parametrize(
    ("results", "says"),
    [
        (with_shared_failed_student(), "Failed:  1 student failed; 3 trials have no student"),
        (with_failed_networks({"ta6": "diverged"}), "Failed:  1 network failed; "),
    ],
)
def test_the_closing_lines_count_networks_and_distinct_students(results: Results, says: str) -> None:
    result = StudyResult(results, build_report(results), tracked=True, seconds=1.0)
    assert says in run._closing_lines(load_study_file(None), result)
    assert result.exit_code == 1


def test_every_page_of_help_has_an_example_and_the_exit_codes() -> None:
    for name in main.commands.commands:
        page = CliRunner().invoke(main.commands, [name, "--help"], prog_name="wetakd").output
        assert f"    wetakd {name}" in page, name
        assert "Exit codes: 0" in page, name
        assert max(map(len, page.splitlines())) <= 120, name
