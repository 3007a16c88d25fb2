"""Every benchmark starts, ends and prints its figure. So small, the figures themselves mean nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evidence_command import command, write_images

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
RATIO = r"\d+\.\d+x \(\d+\.\d+ to \d+\.\d+"
# Arguments, and what is to be found on standard output.
SMALL = {
    "distill": ("--families plain --rounds 1 --steps 1 --workers 1 --threads 1", rf"(?m)^usual .* {RATIO}\)$"),
    "evidence": ("", r"\| de ta8\+ta6\+ta4 \| \d+\.\d\d .*\| [+-]?\d+\.\d\d "),
    "packed": ("--rounds 1 --steps 1", r"P = 8, .*\n.*\n  in turn .* x\d+\.\d\d \(.*\n  side by side .* x\d+\.\d\d \("),
    "scaling": ("", r"1000 nodes, \d+ students: \d+ steps, \d+ min"),
    "study": ("--trials 4 6 --epochs 1", r"one more trial: -?\d+\.\d+ core-seconds beyond its training"),
    "teachers": ("--rounds 1 --steps 2 --classes 3", r"(?s)with flip and crop.*8 teachers: \d\.\d+ x plain"),
    "views": ("--rounds 1 --images 512 --workers 1", r"DataLoader, 1 processes .* \d+\.\dx +\("),
    "weights": ("--quick --sizes 5,10 --rounds 1 --seeds 0", r"(?m)^  a .* us a candidate: x\d+ \("),
    "weights_trained": ("", r"(?s)digits: .*  de .* [+-]\d\.\d\d ± "),
}


def test_no_benchmark_is_left_out():
    # compare_commits and draw_functions are not benchmarks and have tests of their own.
    tools = {"compare_commits", "draw_functions"}
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - tools == SMALL.keys()


@pytest.mark.parametrize("name", SMALL)
def test_a_small_benchmark_prints_its_figure(name, tmp_path):
    small, figure = SMALL[name]
    arguments = command(write_images(tmp_path), tmp_path / "out") if name == "evidence" else small.split()
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    told = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"},
    )
    assert told.returncode == 0, told.stderr[-3000:]
    assert re.search(figure, told.stdout), told.stdout
