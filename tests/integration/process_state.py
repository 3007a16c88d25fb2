"""Run studies in this process and print, as JSON, what each changed of the process, and their temporary folders.

    python -m tests.integration.process_state FOLDER

The first study runs to its end, the second is left by an exception while its students are about to be trained.
"""

import faulthandler
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pytorch
import numpy as np
import ray
import torch

from tests.integration.small_study import study, tree
from wetakd import Study
from wetakd.common.progress import QuietReporter, Stage

STUDY = {"name": "small", "seeds": 1, "subsets": [2], "strategies": ["uniform"], "controls": []}


class Broken(Exception):
    """Leaves a run."""


class Breaking(QuietReporter):
    """Raises where the students would be trained."""

    @contextmanager
    def stage(self, name: str, total: float) -> Iterator[Stage]:
        if name == "students":
            raise Broken
        with super().stage(name, total) as stage:
            yield stage


def process_state() -> dict[str, Any]:
    """What a library may change and the rest of the process would notice.

    Not in it, because the import of the library in question changes it once and for all: modules, loggers that are new
    (but for those that wetakd sets), handlers of loggers (Alembic adds a NullHandler, torch removes its lazy one) and
    functions that run at exit. Nor is the state of Python's `random`: Ray draws names from it, which it would
    draw again if the state were restored.
    """
    loggers = dict(logging.root.manager.loggerDict)
    return {
        "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "faulthandler": faulthandler.is_enabled(),
        "levels": {name: logger.level for name, logger in loggers.items() if isinstance(logger, logging.Logger)},
        "logging": [logging.root.level, logging.root.manager.disable, repr(logging.root.handlers)],
        "environment": dict(os.environ),
        "warnings": [repr(entry) for entry in warnings.filters],
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "random": [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()],
        "torch": [torch.get_float32_matmul_precision(), str(torch.get_default_dtype()), torch.is_grad_enabled()],
        "cudnn": [torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark],
        "search path": list(sys.path),
        "folder": os.getcwd(),
        "streams": repr([sys.stdout, sys.stderr]),
        "hooks": repr([sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning]),
        "mlflow": [mlflow.get_tracking_uri(), mlflow.get_registry_uri()],
        "ray": ray.is_initialized(),
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The entries that differ, by dotted path, each with its old and its new value."""
    found = {}
    for key in {*before, *after}:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found |= {f"{key}.{path}": pair for path, pair in changes(old, new).items()}
        elif old != new:
            found[str(key)] = [str(old)[:200], str(new)[:200]]
    return found


def without_new_loggers(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out loggers that an import made; their level is their library's own, for those of wetakd's list NOTSET."""
    set_by_wetakd = ("levels.ray.tune", "levels.mlflow.store")
    return {
        path: pair
        for path, pair in found.items()
        if not (path.startswith("levels.") and pair[0] == "None" and (path not in set_by_wetakd or pair[1] == "0"))
    }


def main() -> None:
    folder = Path(sys.argv[1])
    threads = {**tree(folder)["student"], "recipe": {**tree(folder)["student"]["recipe"], "threads": 3}}
    found = []
    made: list[str] = []
    sys.addaudithook(lambda event, given: made.append(given[0]) if event == "tempfile.mkdtemp" else None)
    for name, reporter in (("whole", QuietReporter()), ("broken", Breaking())):
        config = study(folder / name, study=STUDY, student=threads)
        before = process_state()
        try:
            Study(config, reporter=reporter).run()
        except Broken:
            assert name == "broken"
        else:
            assert name == "whole"
        found.append(without_new_loggers(changes(before, process_state())))
    in_shared_folder = [path for path in map(Path, made) if path.parent == Path(tempfile.gettempdir())]
    print(json.dumps([found, [path.name for path in in_shared_folder if path.name.startswith("wetakd")]]))


if __name__ == "__main__":
    main()
