"""Compare the results of two commits, to the last digit.

    python benchmarks/compare_commits.py OLD NEW                    the embedded study and a reduced CIFAR-10 study
    python benchmarks/compare_commits.py OLD NEW --only embedded    the study that `wetakd run` runs without a file
    python benchmarks/compare_commits.py main HEAD --cifar DIR      DIR holds train.parquet and test.parquet

Both commits are checked out in temporary git worktrees. Each runs the studies with the Python and the packages of the
current environment, with a private Ray cluster, storage and MLflow database. All columns of `trials.parquet` are
compared except `search_seconds`, `train_seconds`, `mlflow_run_id` and `student_key`.

Where the two commits have different embedded studies, both run that of OLD. The CIFAR-10 study is
`compare_commits_cifar10.yaml` beside this script; it is left out where its data is missing.

Exit codes: 0: equal results; 1: different results; 2: no comparison, for example because a commit does not accept a
study file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parents[1]
CIFAR_STUDY = Path(__file__).with_name("compare_commits_cifar10.yaml")
CIFAR_DATA = ROOT.parent / "shared" / "data" / "cifar10-jpeg"
NOT_COMPARED = frozenset({"search_seconds", "train_seconds", "mlflow_run_id", "student_key"})
"""Times, identifiers and keys: they may differ although the results are equal."""
_ROW_NAME = ("strategy", "assistants", "replicate", "seed")
_ENVIRONMENT_PREFIXES = ("RAY_", "WETAKD_", "MLFLOW_")
_WHICH_CODE = """
import json
import ray
import wetakd

@ray.remote
def place():
    import wetakd
    return wetakd.__file__

ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
print(json.dumps([wetakd.__file__, ray.get(place.remote())]))
"""


class NotComparableError(Exception):
    """The two commits cannot be compared; the message says why."""


# ---------------------------------------------------------------------------------------------------- comparison

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """How two tables differ."""

    num_rows: int
    """Rows that both tables have."""
    equal: tuple[str, ...]
    """Columns with equal values in all common rows."""
    different: Mapping[str, str]
    """Column -> what differs."""
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    """Columns that only one table has. A column that was added is not a difference."""
    rows_only_old: tuple[str, ...]
    rows_only_new: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the new table says everything that the old one says."""
        return not (self.different or self.only_old or self.rows_only_old or self.rows_only_new)

    @property
    def text(self) -> str:
        """A short table."""
        lines = [f"  {self.num_rows} rows, {len(self.equal)} columns are equal: {', '.join(self.equal) or '-'}"]
        lines += [f"  DIFFERENT  {name}: {what}" for name, what in self.different.items()]
        lines += [f"  DIFFERENT  {name}: the new table does not have this column" for name in self.only_old]
        lines += [f"  DIFFERENT  only the old table has the row {name}" for name in self.rows_only_old]
        lines += [f"  DIFFERENT  only the new table has the row {name}" for name in self.rows_only_new]
        lines += [f"  added      {name}" for name in self.only_new]
        return "\n".join(lines)


def compare(old: Sequence[Row], new: Sequence[Row]) -> Comparison:
    """Compare two tables of trials. Rows are matched by recipe, replicate and seed, whatever their order.

    Numbers are equal only if they are the same float64; NaN and a missing value equal each other.

    Raises:
        NotComparableError: a table has no rows, or two rows for the same trial.
    """
    old_rows, new_rows = _by_name(old, "old"), _by_name(new, "new")
    old_columns, new_columns = list(old[0]), list(new[0])
    common = [name for name in old_rows if name in new_rows]
    columns = [name for name in old_columns if name in new_columns and name not in NOT_COMPARED]
    found = {column: _difference(column, common, old_rows, new_rows) for column in columns}
    return Comparison(
        num_rows=len(common),
        equal=tuple(column for column, what in found.items() if what is None),
        different={column: what for column, what in found.items() if what is not None},
        only_old=tuple(name for name in old_columns if name not in new_columns),
        only_new=tuple(name for name in new_columns if name not in old_columns),
        rows_only_old=tuple(name for name in old_rows if name not in new_rows),
        rows_only_new=tuple(name for name in new_rows if name not in old_rows),
    )


def _by_name(rows: Sequence[Row], which: str) -> dict[str, Row]:
    if not rows:
        raise NotComparableError(f"the {which} table has no rows")
    named = {_row_name(row): row for row in rows}
    if len(named) < len(rows):
        raise NotComparableError(f"the {which} table has several rows for one recipe, replicate and seed")
    return named


def _row_name(row: Row) -> str:
    values = ["+".join(row[name]) if isinstance(row[name], list) else row[name] for name in _ROW_NAME]
    return " ".join(f"{name}={value}" for name, value in zip(_ROW_NAME, values, strict=True))


def _difference(column: str, names: Sequence[str], old: Mapping[str, Row], new: Mapping[str, Row]) -> str | None:
    """What differs in a column; None where nothing does."""
    wrong = [name for name in names if not _same(old[name][column], new[name][column])]
    if not wrong:
        return None
    before, after = old[wrong[0]][column], new[wrong[0]][column]
    sizes = [size for name in wrong if (size := _distance(old[name][column], new[name][column])) is not None]
    largest = f", by at most {max(sizes):.3g}" if sizes else ""
    return f"{len(wrong)} of {len(names)} rows differ{largest}; {wrong[0]}: {before!r} -> {after!r}"


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if _is_missing(old) or _is_missing(new):
        return _is_missing(old) and _is_missing(new)
    return bool(old == new)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _distance(old: Any, new: Any) -> float | None:
    """The largest difference between two numbers, or between the entries of two lists of numbers."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [part for part in map(_distance, old, new) if part is not None]
        return max(parts, default=None)
    if isinstance(old, int | float) and isinstance(new, int | float):
        return None if math.isnan(old - new) else abs(old - new)
    return None


def changed_fields(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted names of the fields in which two study files differ."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [] if old == new else [prefix]
    names = dict.fromkeys([*old, *new])
    missing = object()
    return [
        field
        for name in names
        for field in changed_fields(
            old.get(name, missing), new.get(name, missing), f"{prefix}.{name}" if prefix else str(name)
        )
    ]


# ---------------------------------------------------------------------------------------------------- both commits


@dataclass(frozen=True)
class Checkout:
    """One commit in a worktree, and a folder for what its studies write."""

    name: str
    """`old` or `new`, with the commit's short hash."""
    tree: Path
    work: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which this commit's code runs, in the driver and in Ray's workers."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_ENVIRONMENT_PREFIXES)}
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(self.tree), kept.get("PYTHONPATH")]))
        return kept | {"RAY_AUTH_TOKEN": secrets.token_hex(32), "MLFLOW_DISABLE_TELEMETRY": "true"}

    def check_code(self) -> None:
        """Raise NotComparableError unless driver and workers import the code of the worktree."""
        done = self._python("-c", _WHICH_CODE)
        if done.returncode != 0:
            raise NotComparableError(f"{self.name}: wetakd cannot be imported: {_last_line(done.stderr)}")
        places = json.loads(done.stdout.strip().splitlines()[-1])
        for who, place in zip(("driver", "workers"), places, strict=True):
            if not Path(place).resolve().is_relative_to(self.tree.resolve()):
                raise NotComparableError(f"{self.name}: the {who} would run {place}, not the code in {self.tree}")

    def embedded_study(self) -> Path:
        """The file of the embedded study."""
        found = sorted((self.tree / "wetakd").rglob("digits.yaml"))
        if len(found) != 1:
            raise NotComparableError(f"{self.name}: expected one wetakd/**/digits.yaml, found {len(found)}")
        return found[0]

    def run(self, study: str, words: Sequence[str]) -> list[Row]:
        """Run a study and return its table of trials.

        Raises:
            NotComparableError: the commit does not accept the study, or the study failed.
        """
        folder = self.work / study
        folder.mkdir()
        own = {
            "WETAKD_STORAGE": str(folder / "storage"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        }
        started = time.monotonic()
        done = self._python("-m", "wetakd", "run", *words, "--quiet", own=own)
        if done.returncode == 2:
            raise NotComparableError(f"{self.name} does not accept the study {study}: {_last_line(done.stderr)}")
        if done.returncode != 0:
            raise NotComparableError(
                f"{self.name}: the study {study} ended with exit code {done.returncode}: {_last_line(done.stderr)}"
            )
        tables = list((folder / "storage").rglob("trials.parquet"))
        if len(tables) != 1:
            raise NotComparableError(f"{self.name}: expected one trials.parquet, found {len(tables)}")
        print(f"  {self.name}: {time.monotonic() - started:.0f} s", flush=True)
        rows: list[Row] = pq.read_table(tables[0]).to_pylist()
        return rows

    def _python(self, *words: str, own: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.work,
            env=self.environment | dict(own or {}),
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def checkouts(old: str, new: str) -> Iterator[tuple[Checkout, Checkout]]:
    """Both commits in worktrees, which are removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="wetakd-compare-"))
    made: list[Checkout] = []
    try:
        for name, commit in (("old", old), ("new", new)):
            short = _git("rev-parse", "--short", "--verify", f"{commit}^{{commit}}")
            tree, work = folder / name, folder / f"{name}-work"
            _git("worktree", "add", "--detach", str(tree), short)
            work.mkdir()
            made.append(Checkout(f"{name} ({short})", tree, work))
        yield made[0], made[1]
    finally:
        for checkout in made:
            _git("worktree", "remove", "--force", str(checkout.tree))
        shutil.rmtree(folder, ignore_errors=True)


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotComparableError(f"git {' '.join(words[:2])}: {_last_line(done.stderr)}")
    return done.stdout.strip()


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no message"


def embedded_words(old: Checkout, new: Checkout) -> list[str]:
    """Arguments of `wetakd run` for the embedded study: the file of OLD where the commits have different ones."""
    trees = [yaml.safe_load(checkout.embedded_study().read_text()) for checkout in (old, new)]
    changed = changed_fields(*trees)
    if not changed:
        return []
    print(f"  the embedded studies differ in {', '.join(changed)}; both commits run that of {old.name}", flush=True)
    return [str(old.embedded_study())]


def cifar_words(data: Path) -> list[str] | None:
    """The same for the reduced CIFAR-10 study; None where its data is missing."""
    files = {part: data / f"{part}.parquet" for part in ("train", "test")}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        print(f"  left out: {', '.join(missing)} not found; name a folder with --cifar", flush=True)
        return None
    sets = [f"data.{part}={json.dumps([str(path.resolve())])}" for part, path in files.items()]
    return [str(CIFAR_STUDY), *(word for text in sets for word in ("--set", text))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD", help="a commit")
    parser.add_argument("new", metavar="NEW", help="a commit")
    parser.add_argument("--only", choices=("embedded", "cifar10"), help="run only this study")
    parser.add_argument("--cifar", type=Path, default=CIFAR_DATA, help="folder with train.parquet and test.parquet")
    given = parser.parse_args()
    studies = [given.only] if given.only else ["embedded", "cifar10"]
    results: list[Comparison] = []
    try:
        with checkouts(given.old, given.new) as (old, new):
            for checkout in (old, new):
                checkout.check_code()
            for study in studies:
                print(f"{study}:", flush=True)
                words = embedded_words(old, new) if study == "embedded" else cifar_words(given.cifar)
                if words is not None:
                    results.append(compare(old.run(study, words), new.run(study, words)))
                    print(results[-1].text, flush=True)
    except NotComparableError as error:
        print(f"compare_commits: {error}", file=sys.stderr)
        return 2
    if not results:
        print("compare_commits: nothing was compared", file=sys.stderr)
        return 2
    is_equal = all(result.is_equal for result in results)
    print("equal" if is_equal else "DIFFERENT")
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
