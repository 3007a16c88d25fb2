"""Many runs, each with one random fault, and what was lost."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.faulted_study import NET, Left, Run, tree
from tests.faults.faults import FAULTS, Fault, can_mount, needs_mount
from tests.faults.killable_cluster import Cluster
from tests.faults.s3_server import S3
from tests.mlflow_server import MlflowServer

SETTLE_S = 20.0
_MOUNT_SIZE = "size=32m"


@dataclass
class Outcome:
    """One run: what was done to it, how often it was started, and everything that was not as it should be."""

    number: int
    kinds: list[str]
    struck: dict[str, str] = field(default_factory=dict)
    """What each fault did; one that is not here came when the study had ended."""
    seconds: float = 0.0
    num_starts: int = 0
    codes: list[int | None] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For people."""
        state = f"LOST: {'; '.join(self.lost)}" if self.lost else "nothing lost"
        told = "; ".join(self.struck.values()) or "too late"
        return (
            f"{self.number:4} {' + '.join(self.kinds)}: {told}; exit codes {self.codes}, {self.seconds:.0f} s: {state}"
        )


class Campaign:
    """Runs on one cluster; keeps the folders of runs that lost something."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._cluster = Cluster()
        self._references: dict[bool, tuple[Left, float]] = {}

    def close(self) -> None:
        """End the cluster."""
        self._cluster.close()

    def run(self, number: int, kinds: Sequence[str]) -> Outcome:
        """One study with its faults: any kind first, then others that any study can have."""
        kind, fault, began = kinds[0], FAULTS[kinds[0]], time.monotonic()
        reference, duration_s = self._reference(fault.group)
        outcome = Outcome(number, list(kinds))
        folder = self._folder / f"{number:04}"
        with contextlib.ExitStack() as stack:
            run = self._made(folder, kind, stack)
            run.duration_s = duration_s
            stack.enter_context(_mounted(run.runs, needs_mount(kind)))
            self._hurt(run, fault, outcome)
            if run.s3:
                run.s3.fetch(folder.name, run.runs)
            if outcome.codes[-1] in fault.good_codes:
                outcome.lost += _differences(Left.by(run), reference, fault)
        outcome.lost += [f"{address} was made twice" for address in run.rebuilt.addresses]
        outcome.lost += self._left_behind(run)
        outcome.seconds = time.monotonic() - began
        if not outcome.lost:
            shutil.rmtree(run.folder)
        return outcome

    def _made(self, folder: Path, kind: str, stack: contextlib.ExitStack) -> Run:
        """The folder of a run, with the servers that it needs until `stack` is closed."""
        fault = FAULTS[kind]
        run = Run(folder, self._file(folder, fault))
        if fault.server == "mlflow":
            run.mlflow = MlflowServer(folder)
            stack.callback(run.mlflow.kill)
            run.mlflow.start()
            run.rewrite(mlflow={"tracking_uri": run.mlflow.uri})
        if needs_mount(kind):
            # MLflow's SQLite file is always open for writing, and such a file system cannot be made read-only.
            run.rewrite(mlflow={"tracking_uri": f"sqlite:///{folder}/server.db"})
        if fault.server == "s3":
            run.s3 = S3()
            stack.callback(run.s3.close)
            run.rewrite(storage=run.s3.uri(folder.name), mlflow={"tracking_uri": f"sqlite:///{folder}/server.db"})
        return run

    def _strike(self, run: Run, kind: str, outcome: Outcome) -> None:
        rng = random.Random(f"{self._seed}/{outcome.number}/{kind}")
        told = FAULTS[kind].strike(run, self._cluster, rng)
        if told is not None:
            outcome.struck[kind] = told

    def _hurt(self, run: Run, fault: Fault, outcome: Outcome) -> None:
        for attempt in range(2):
            run.start(self._cluster.address)
            outcome.num_starts += 1
            # Deaths of workers that found no moment in the first try have another.
            pending = outcome.kinds if attempt == 0 else [k for k in outcome.kinds[1:] if k not in outcome.struck]
            with ThreadPoolExecutor(1 + len(pending)) as pool:
                list(pool.map(lambda kind: self._strike(run, kind, outcome), pending))
            outcome.codes.append(run.wait())
            if outcome.codes[-1] is None:
                outcome.lost.append("the driver hung")
            if outcome.codes[-1] in fault.good_codes:
                break
        else:
            outcome.lost.append(f"exit codes {outcome.codes}: {_last_words(run.log)}")
        run.rebuilt.stop()
        if outcome.num_starts > 1 and not fault.ends_driver:
            outcome.lost.append(f"the study did not end by itself: exit code {outcome.codes[0]}")
        if fault.unsent and run.mlflow:
            run.mlflow.start()
            if run.sync(self._cluster.address) != 0:
                outcome.lost.append(f"wetakd sync failed: {_last_words(run.log)}")

    def _file(self, folder: Path, fault: Fault) -> dict[str, Any]:
        blocks = dict(fault.blocks or {})
        if fault.group:
            blocks["assistants"] = {**tree(folder)["assistants"], "first": {**NET, "workers": 1}}
        return tree(folder, **blocks)

    def _reference(self, group: bool) -> tuple[Left, float]:
        """What an undisturbed run leaves, and the seconds that it takes."""
        if group not in self._references:
            folder = self._folder / f"reference-{'group' if group else 'task'}"
            run = Run(folder, self._file(folder, Fault(lambda *_: None, group=group)))
            began = time.monotonic()
            run.start(self._cluster.address)
            code = run.wait()
            assert code == 0, f"the undisturbed run ended with {code}: {run.log[-2000:]}"
            run.rebuilt.stop()
            self._references[group] = Left.by(run), time.monotonic() - began
            shutil.rmtree(folder)
        return self._references[group]

    def _left_behind(self, run: Run) -> list[str]:
        """What outlives the study: processes, resources, temporary files, unfinished writes."""
        deadline = time.monotonic() + SETTLE_S
        while (held := self._cluster.busy()) and time.monotonic() < deadline:
            time.sleep(0.2)
        files = [
            *(run.folder / "tmp").glob("wetakd*"),
            *run.layout.temporary_folders(),
            *run.layout.unfinished_writes(),
        ]
        return [f"left: {thing}" for thing in (*held, *(str(file.relative_to(run.folder)) for file in files))]


def _differences(left: Left, reference: Left, fault: Fault) -> list[str]:
    if fault.error_rows:
        return _failed_rows(left, reference, fault.error_rows)
    lost = []
    if not left.table.equals(reference.table):
        lost.append("the table differs")
    if left.blobs != reference.blobs:
        keys = {key for key in {*left.blobs, *reference.blobs} if left.blobs.get(key) != reference.blobs.get(key)}
        lost.append(f"blobs differ: {sorted(keys)[:3]}")
    for uid in {*left.shown, *reference.shown}:
        mine, other = left.shown.get(uid), reference.shown.get(uid)
        if mine != other:
            what = [key for key in mine if mine[key] != other[key]] if mine and other else "missing"
            lost.append(f"MLflow's {uid} differs: {what}")
    return lost


def _failed_rows(left: Left, reference: Left, words: str) -> list[str]:
    """Rows that must fail say why; the others are those of the undisturbed run."""
    failed = left.table["error"].notna()
    lost = [] if failed.any() and left.table.loc[failed, "error"].str.contains(words).all() else ["wrong error rows"]
    columns = ["strategy", "assistants", "seed", "student_key", "student_test_accuracy"]
    rows = [frame[columns].astype(str).apply(tuple, axis=1) for frame in (left.table[~failed], reference.table)]
    if not set(rows[0]) <= set(rows[1]):
        lost.append("other rows differ")
    open_runs = [uid for uid, run in left.shown.items() if run["status"] not in ("FINISHED", "FAILED")]
    return lost + [f"MLflow's {uid} is not closed" for uid in open_runs]


def _last_words(log: str) -> str:
    lines = [line for line in log.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no word"


@contextlib.contextmanager
def _mounted(folder: Path, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", _MOUNT_SIZE, "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def kinds_here(folder: Path) -> list[str]:
    """The kinds of fault that this machine can have."""
    mounts = can_mount(folder / "probe")
    return [kind for kind in FAULTS if mounts or not needs_mount(kind)]


def write(outcome: Outcome, file: Path) -> None:
    """Append one line of JSON, so that a campaign that ends early has told what it saw."""
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(outcome)) + "\n")


def read(file: Path) -> list[Outcome]:
    """What `write` left, also of earlier parts of a campaign."""
    return [Outcome(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Faults tried by kind, and what was lost."""
    tried, again, lost = Counter[str](), Counter[str](), defaultdict[str, list[str]](list)
    for outcome in outcomes:
        tried += Counter(outcome.struck.keys())
        again[outcome.kinds[0]] += outcome.num_starts - 1
        lost[outcome.kinds[0]] += [f"run {outcome.number}: {what}" for what in outcome.lost]
    width = max(map(len, tried), default=0)
    lines = [f"{'fault':<{width}}  tried  started again  lost"]
    lines += [f"{kind:<{width}}  {num:5}  {again[kind]:13}  {len(lost[kind]):4}" for kind, num in tried.items()]
    lines.append(f"{'in all':<{width}}  {tried.total():5}  {again.total():13}  {sum(map(len, lost.values())):4}")
    lines.append(f"{len(outcomes)} studies, some with several faults")
    return "\n".join(lines + [f"  {kind}: {what}" for kind in lost for what in lost[kind]])
