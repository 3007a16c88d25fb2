"""Output whose reader leaves: progress goes on in silence, and what was asked for but could not be written is told."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.simulated_results import simulated
from wetakd.common.guarded_output import READER_LEFT, GuardedStream, optional_stream
from wetakd.common.progress import LineReporter, TerminalReporter
from wetakd.config.study_file import load_study_file
from wetakd.config.study_record import dump_record
from wetakd.plan.study_references import STUDY_FILE
from wetakd.report.report import build_report
from wetakd.results.stored_results import Results
from wetakd.storage.atomic_store import Store
from wetakd.storage.format_number import write_format


def pipe_without_reader() -> io.TextIOWrapper:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of bash with `wetakd` as a function; its output is that of the script."""
    head = f'wetakd() {{ "{sys.executable}" -m wetakd "$@"; }}\n'
    environment = {name: value for name, value in os.environ.items() if name not in ("WETAKD_STORAGE", "RAY_ADDRESS")}
    environment["PYTHONPATH"] = os.getcwd()
    command = ["bash", "-c", head + script]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("make", [LineReporter, TerminalReporter])
def test_progress_goes_on_when_nobody_reads_it(make: Callable[..., LineReporter | TerminalReporter]) -> None:
    reporter = make(optional_stream(pipe_without_reader()))
    with reporter.stage("students", 2) as stage:
        stage.step(1, "seed 0")
        reporter.message("a line")
        stage.step(2, "seed 1")


def test_what_is_not_optional_is_told_at_every_write() -> None:
    stream = GuardedStream(pipe_without_reader(), is_optional=False)
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            stream.write("x" * 100_000)
    assert stream.is_broken
    stream.flush()  # as the interpreter does at its end


def test_a_full_disk_is_an_error_only_where_the_output_is_asked_for() -> None:
    optional_stream(open("/dev/full", "w", buffering=1)).write("progress\n")  # noqa: SIM115
    with pytest.raises(OSError, match="No space left"):
        GuardedStream(open("/dev/full", "w", buffering=1), is_optional=False).write("result\n")  # noqa: SIM115


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    store = Store(str(tmp_path / "runs"))
    write_format(store)
    simulated(num_seeds=2, study="digits").write(store)
    store.write(f"studies/digits/{STUDY_FILE}", dump_record(load_study_file(None)))
    return tmp_path


@pytest.mark.parametrize("command", ["ls", "--help", "report digits", "report digits --json", "plan"])
def test_a_command_whose_reader_left_ends_with_141_and_no_traceback(command: str, stored: Path) -> None:
    told = shell(f"{{ wetakd {command}; echo $? > code; }} | exec true\n", stored)
    assert (stored / "code").read_text() == f"{READER_LEFT}\n"
    # Only progress, which a reader on standard error still gets.
    assert all(line.startswith("data ") for line in told.stderr.splitlines()), told.stderr


def test_a_reader_who_read_everything_is_no_error(stored: Path) -> None:
    shell("{ wetakd ls; echo $? > code; } | cat > listed\n", stored)
    assert (stored / "code").read_text() == "0\n"
    assert (stored / "listed").read_text().startswith("digits ")


def test_an_error_keeps_its_exit_code_when_nobody_reads_it(stored: Path) -> None:
    told = shell("{ wetakd report nobody; echo $? > code; } 2>&1 | exec true\n", stored)
    assert ((stored / "code").read_text(), told.stderr) == ("2\n", "")


def test_closed_streams_are_no_error(stored: Path) -> None:
    told = shell("wetakd ls >&- 2>&-; echo $?", stored)
    assert told.stdout == "0\n"


def test_a_broken_connection_is_not_taken_for_a_reader_that_left(stored: Path) -> None:
    code = """
from wetakd.commands import main as cli
from wetakd.commands import validate
def broken(*_):
    raise BrokenPipeError(32, "connection lost")
validate.load_study_file = broken
import sys
sys.argv = ["wetakd", "validate"]
cli.main()
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1
    assert "BrokenPipeError" in told.stderr


STUDY = """
from wetakd import study
from wetakd.commands import main as cli
from tests.unit.simulated_results import simulated
from wetakd.report.report import build_report
import sys, time

class Study:
    '''Progress to standard error and a user's own prints to standard output, then a result.'''
    def __init__(self, config, *, reporter, **_):
        self.reporter = reporter
    def run(self):
        for _ in range(200):
            self.reporter.message('students 10%' * 10)
            print('printed by a function of the user' * 100)
        time.sleep(0.2)
        self.reporter.message('at the end')
        open('finished', 'w').close()
        results = simulated(num_seeds=2)
        return study.StudyResult(results, build_report(results), True, 1.0)

study.Study = Study
sys.argv = ["wetakd", "run"]
cli.main()
"""


@pytest.mark.parametrize(
    ("pipeline", "code"),
    [
        ("{ study; } 2>&1 | head -n 1", 141),
        ("{ study; } 2>&1 | head -c 10", 141),
        ("{ study; } | head -n 1 2>/dev/null", 141),
        ("{ study > table; } 2>&1 | head -n 1", 0),
        ("{ study > table; } 2>&1 | head -c 10", 0),
    ],
)
def test_a_study_outlives_the_readers_of_its_progress(pipeline: str, code: int, tmp_path: Path) -> None:
    """The exit code says whether the table was written."""
    (tmp_path / "study.py").write_text(STUDY)
    function = f'study() {{ "{sys.executable}" study.py; echo $? > code; }}\n'
    told = shell(function + pipeline, tmp_path)
    assert (tmp_path / "code").read_text() == f"{code}\n"
    assert (tmp_path / "finished").exists()
    assert "Traceback" not in told.stdout + told.stderr
    if code == 0:
        assert "The declared contrast" in (tmp_path / "table").read_text()


def test_a_report_is_as_wide_as_its_terminal_from_80_to_120_columns(stored: Path) -> None:
    """Only a terminal's width counts: the stored file and a pipe have 80."""
    code = """
import fcntl, os, pty, struct, sys, termios
from wetakd.common import guarded_output
print(guarded_output.terminal_columns(), file=sys.stderr)  # of a pipe
for wanted in (40, 100, 300):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, wanted, 0, 0))
    sys.stdout = os.fdopen(theirs, "w")
    print(guarded_output.terminal_columns(), file=sys.stderr)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stderr.split() == ["80", "40", "100", "300"]
    report = build_report(Results.read(Store(str(stored / "runs")), "digits"))
    widths = {wanted: max(map(len, report.text_of_width(wanted).splitlines())) for wanted in (40, 100, 300)}
    assert widths == {40: 80, 100: 100, 300: 120}
