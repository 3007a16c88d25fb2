"""What a study costs beyond its students' own training: digits with 10, 50 and 200 tiny trials.

Teacher, assistants and logit cache are made first, by a study of their own on the same storage. Every measured study is
a fresh process with a fresh local cluster:

- `start`: seconds from the first line of the process to the first trial (imports, cluster, data, networks found);
- `trials`: seconds in which students train; `training` is the sum of their own training seconds, of all cores;
- `beyond`: core-seconds a trial takes beyond its training, start of the actors included;
- `share`: of the study's core-seconds after its start, the part spent in training.

The last line is the slope: what one more trial costs beyond its training on actors that are warm.

    python benchmarks/study.py --trials 10 50 200
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wetakd.common.progress import QuietReporter, Stage

ARMS = 2
"""Uniform and random weights of the full pool."""


@dataclass
class StageClock(QuietReporter):
    """When each stage began and ended."""

    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def stage(self, title: str, total: float) -> Iterator[Stage]:
        """Note the times of a stage."""
        began = time.time()
        with super().stage(title, total) as stage:
            yield stage
        self.spans[title] = (began, time.time())


def run_study(storage: str, num_trials: int, epochs: int) -> dict[str, float]:
    """Run one study in this process; returns the figures of its row."""
    import psutil

    from wetakd import Study
    from wetakd.config import study_file

    settings: dict[str, Any] = {
        "study.name": f"trials-{num_trials}",
        "study.seeds": num_trials // ARMS,
        "study.subsets": [3],
        "study.strategies": ["uniform", "random"],
        "study.controls": [],
        "study.primary": {"strategy": "random", "against": "uniform"},
        "student.recipe.epochs": epochs,
        "student.recipe.lr": 0.05 + num_trials * 1e-6,  # students of its own
        "storage": storage,
    }
    config = study_file.load_study_file(None, [f"{name}={json.dumps(value)}" for name, value in settings.items()])
    clock = StageClock()
    result = Study(config, reporter=clock).run()
    done = time.time()
    began, ended = clock.spans["students"]
    cores = len(os.sched_getaffinity(0))
    training = float(result.table["train_seconds"].sum())
    return {
        "trials": result.num_students_trained,
        "start_s": began - psutil.Process().create_time(),
        "trials_s": ended - began,
        "training_s": training,
        "beyond_s": (cores * (ended - began) - training) / num_trials,
        "share": training / (cores * (done - began)),
    }


def in_own_process(storage: str, num_trials: int, epochs: int) -> dict[str, float]:
    """`run_study` in a fresh process."""
    command = [sys.executable, __file__, "--one", str(num_trials), "--storage", storage, "--epochs", str(epochs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[10, 50, 200], help=f"multiples of {ARMS}")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of a student")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--storage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(run_study(options.storage, options.one, options.epochs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        storage = str(Path(folder) / "runs")
        in_own_process(storage, ARMS, 1)
        print(f"{'trials':>7}{'start s':>9}{'trials s':>10}{'training s':>12}{'beyond s':>10}{'share':>7}", flush=True)
        rows = []
        for num_trials in options.trials:
            row = in_own_process(storage, num_trials, options.epochs)
            rows.append(row)
            print(
                f"{row['trials']:7.0f}{row['start_s']:9.1f}{row['trials_s']:10.1f}{row['training_s']:12.1f}"
                f"{row['beyond_s']:10.3f}{row['share']:7.0%}",
                flush=True,
            )
        if len(rows) > 1:
            first, last = rows[0], rows[-1]
            beyond = last["beyond_s"] * last["trials"] - first["beyond_s"] * first["trials"]
            print(f"one more trial: {beyond / (last['trials'] - first['trials']):.3f} core-seconds beyond its training")


if __name__ == "__main__":
    main()
