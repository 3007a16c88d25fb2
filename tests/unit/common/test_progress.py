"""What a person sees while a study runs."""

import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

from wetakd.common.progress import LineReporter, QuietReporter, TerminalReporter, _Pace, format_duration, format_share
from wetakd.stages.epoch_progress import EpochCounter
from wetakd.training.epoch import Epoch


def epoch(number: int) -> Epoch:
    return Epoch(number, loss=1.0, lr=0.1, choose_accuracy=0.5, choose_nll=1.0, seconds=0.1)


def test_a_log_gets_whole_lines_without_control_codes() -> None:
    stream = io.StringIO()
    with LineReporter(stream, every_s=0).stage("networks", 20) as stage:
        counter = EpochCounter(stage)
        for number in range(1, 11):
            counter.reported("network:0:ta8", "ta8", epoch(number), 10)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[4].endswith("epoch 5/10, accuracy 0.500: ta8")
    assert " 25% " in lines[4]
    assert re.fullmatch(r"networks  done in 0:0\d", lines[-1])
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_a_long_stage_writes_few_lines() -> None:
    stream = io.StringIO()
    with LineReporter(stream, every_s=3600).stage("students", 1000) as stage:
        for done in range(1000):
            stage.step(done, "busy")
    assert len(stream.getvalue().splitlines()) == 1


def test_a_stage_with_nothing_to_do_says_nothing() -> None:
    stream = io.StringIO()
    with LineReporter(stream, every_s=0).stage("networks", 0):
        pass
    assert stream.getvalue() == ""


def test_epochs_told_twice_count_once() -> None:
    done: list[float] = []

    class Stage:
        def step(self, share: float, what: str, stored: float = 0.0) -> None:
            done.append(share)

    counter = EpochCounter(Stage())
    for number in (1, 2, 1, 2, 3):
        counter.reported("a", "a", epoch(number), 3)
    counter.reported("b", "b", epoch(1), 3)
    assert done == [1, 2, 2, 2, 3, 4]


def test_what_is_stored_counts_as_done_and_the_time_left_is_that_of_this_runs_work() -> None:
    """900 of 1,000 epochs are stored; the rest takes a millisecond an epoch."""
    stream = io.StringIO()
    with LineReporter(stream, every_s=0).stage("students", 1000) as stage:
        counter = EpochCounter(stage)
        for student in range(9):
            counter.finish(f"{student}", f"student {student}", 100)
        for number in range(1, 101):
            time.sleep(0.001)
            counter.reported("9", "student 9", epoch(number), 100)
        counter.finish("9", "student 9", 100)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 9 + 100 + 1
    assert " 90% " in lines[8]
    assert "? left" in lines[8]
    assert " 100% " in lines[-2]
    # If what is stored were taken for work, 899 epochs would seem to have taken no time at all.
    left = _Pace(1000)
    assert [left.left_s(900, 900), left.left_s(901, 900)] == [None, None]
    begun = time.monotonic()
    time.sleep(0.02)
    found = left.left_s(902, 900)
    assert found is not None
    assert 98 * 0.02 <= found <= 98 * (time.monotonic() - begun) * 1.1


def test_epochs_from_a_checkpoint_count_as_stored_and_those_that_a_second_try_repeats_do_not() -> None:
    steps: list[tuple[float, float]] = []

    class Stage:
        def step(self, done: float, what: str, stored: float = 0.0) -> None:
            steps.append((done, stored))

    counter = EpochCounter(Stage())
    for number in (1, 2):
        counter.reported("a", "a", replace(epoch(number), is_stored=True), 5)
    counter.reported("a", "a", epoch(3), 5)
    for number in (1, 2, 3):  # its worker was lost; all of it is in a checkpoint now
        counter.reported("a", "a", replace(epoch(number), is_stored=True), 5)
    counter.reported("a", "a", epoch(4), 5)
    counter.finish("a", "a", 5)  # pruned
    counter.finish("a", "a", 5)
    assert steps == [(1, 1), (2, 2), (3, 2), (3, 2), (3, 2), (3, 2), (4, 2), (5, 3)]


def test_a_stage_whose_work_is_all_stored_says_nothing() -> None:
    stream = io.StringIO()
    with LineReporter(stream).stage("students", 20) as stage:
        EpochCounter(stage).finish("a", "a", 20)
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_and_keeps_one_line() -> None:
    stream = io.StringIO()
    reporter = TerminalReporter(stream)
    with reporter.stage("students", 4) as stage:
        stage.step(2, "de ta8+ta6, seed 0")
    reporter.message("[not markup]")
    assert stream.getvalue().splitlines()[-2].startswith("students  done in")
    assert stream.getvalue().splitlines()[-1] == "[not markup]"


def test_silence_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    reporter = QuietReporter()
    reporter.message("nothing")
    with reporter.stage("students", 4) as stage:
        stage.step(1, "nothing")
    assert capfd.readouterr() == ("", "")


def test_durations_and_shares_read_well() -> None:
    assert [format_duration(s) for s in (None, 0, 59.6, 61, 3661)] == ["?", "0:00", "1:00", "1:01", "1:01:01"]
    assert [format_share(1, 3), format_share(0, 0)] == ["33%", "0%"]


def test_a_long_label_costs_neither_bar_nor_time_nor_accuracy_on_a_narrow_terminal() -> None:
    shown = io.StringIO()
    reporter = TerminalReporter(shown)
    reporter._console = Console(file=shown, force_terminal=True, width=80)
    with reporter.stage("students", 8) as stage:
        label = "random_search teacher+ta8+ta6+ta4 student.recipe.lr=0.1, seed 0"
        EpochCounter(stage).reported("a", label, Epoch(5, 0.1, 0.1, 0.95, 0.1, 1.0), 8)
        time.sleep(0.3)
    (line,) = {line for line in re.split(r"[\r\n]", shown.getvalue()) if "epoch 5/8" in line}
    assert re.search(r"students .*62%.* epoch 5/8, accuracy 0\.950: r", line)
