"""What a study found, as it lies on storage: four tables and a summary, enough to rebuild every report.

studies/NAME/trials.parquet         one row a trial (arm x point x replicate x seed)
studies/NAME/networks.parquet       one row a teacher or assistant of a replicate
studies/NAME/curves.parquet         one row an epoch of a network or a distinct student
studies/NAME/contributions.parquet  one row a network of the pool of a replicate
studies/NAME/summary.json           the winner, and what the tables do not say
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wetakd.common.canonical_json import sealed, unsealed
from wetakd.common.errors import UserError
from wetakd.results.statistics import Winner, arm_order
from wetakd.storage.store import Store

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()

TRIALS = pa.schema(
    [
        ("strategy", _TEXT),
        ("assistants", pa.list_(_TEXT)),
        ("num_assistants", _INT),
        ("assistant_parameters", _INT),
        ("replicate", _INT),
        ("seed", _INT),
        ("point", _TEXT),
        ("weights", pa.list_(_FLOAT)),
        ("evaluations", _INT),
        ("search_seconds", _FLOAT),
        ("accuracy_cap", _FLOAT),
        ("gap", _FLOAT),
        ("crossfit_gain", _FLOAT),
        ("crossfit_error", _FLOAT),
        ("ensemble_weigh_accuracy", _FLOAT),
        ("ensemble_weigh_nll", _FLOAT),
        ("ensemble_choose_accuracy", _FLOAT),
        ("ensemble_choose_nll", _FLOAT),
        ("ensemble_test_accuracy", _FLOAT),
        ("ensemble_test_nll", _FLOAT),
        ("student_key", _TEXT),
        ("student_choose_accuracy", _FLOAT),
        ("student_test_accuracy", _FLOAT),
        ("student_test_macro_accuracy", _FLOAT),
        ("student_test_calibration_error", _FLOAT),
        ("student_test_nll", _FLOAT),
        ("train_seconds", _FLOAT),
        ("stopped_at_epoch", _INT),
        ("error", _TEXT),
        ("mlflow_run_id", _TEXT),
    ]
)
NETWORKS = pa.schema(
    [
        ("name", _TEXT),
        ("role", _TEXT),
        ("replicate", _INT),
        ("taught_by", pa.list_(_TEXT)),
        ("parameters", _INT),
        ("macs", _INT),
        ("choose_accuracy", _FLOAT),
        ("test_accuracy", _FLOAT),
        ("test_nll", _FLOAT),
        ("train_seconds", _FLOAT),
        ("key", _TEXT),
        ("trained", _BOOL),
        ("imported", _TEXT),
        ("error", _TEXT),
    ]
)
CURVES = pa.schema(
    [
        ("uid", _TEXT),
        ("kind", _TEXT),
        ("label", _TEXT),
        ("epoch", _INT),
        ("loss", _FLOAT),
        ("lr", _FLOAT),
        ("choose_accuracy", _FLOAT),
    ]
)
CONTRIBUTIONS = pa.schema([("replicate", _INT), ("name", _TEXT), ("leave_one_out", _FLOAT), ("shapley", _FLOAT)])
_SCHEMAS = {"trials": TRIALS, "networks": NETWORKS, "curves": CURVES, "contributions": CONTRIBUTIONS}


SUMMARY = "summary.json"
"""Where it stands in a study's folder, the study has results."""


@dataclass(frozen=True)
class Cost:
    """What a network costs where it runs."""

    parameters: int
    macs: int
    """Multiply-accumulates of one image."""
    bytes: int
    """Of its parameters and buffers."""
    latency_ms: float | None = None
    """Median of one image on one thread of the CPU that reported on the study, where it was measured."""


@dataclass(frozen=True)
class Spending:
    """What a study took: training and searching (however often it was resumed), and what its bank saved."""

    network_core_seconds: float
    """CPUs that were asked for, times seconds of training."""
    search_core_seconds: float
    student_core_seconds: float
    bank_passes: int
    """Images through teachers and assistants for the bank, each once."""
    usual_passes: int
    """The same for the same students in a loop that asks the networks anew at every step."""
    network_gpu_seconds: float | None = None
    """GPUs that were asked for, times seconds of training; None where no placement of the study has GPUs."""
    student_gpu_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that the report of a study is built from."""

    study: str
    question: str
    """`StudyConfig.question` of the file that it answers."""
    trials: pd.DataFrame
    networks: pd.DataFrame
    curves: pd.DataFrame
    contributions: pd.DataFrame
    num_classes: int
    primary: tuple[str, str] | None
    """The declared contrast: a strategy, and the strategy that it is compared with; None where there is none."""
    pool: tuple[str, ...]
    teacher_cost: Cost | None
    """None where only its logits are known."""
    student_cost: Cost
    spending: Spending
    winner: Winner | None
    """Chosen on `choose`; None where no student was finished."""

    def write(self, store: Store) -> None:
        """Put tables and summary into the study's folder, the summary last."""
        tables = {name: _parquet(_sorted(name, getattr(self, name)), schema) for name, schema in _SCHEMAS.items()}
        for name, data in tables.items():
            store.write(self._path(f"{name}.parquet"), data)
        summary = self.summary() | {"sha256": {name: _sha256(data) for name, data in tables.items()}}
        store.write(self._path(SUMMARY), sealed(summary))

    def summary(self) -> dict[str, Any]:
        """The part that is no table, JSON-safe."""
        return {
            "study": self.study,
            "question": self.question,
            "num_classes": self.num_classes,
            "primary": list(self.primary) if self.primary else None,
            "pool": list(self.pool),
            "teacher_cost": asdict(self.teacher_cost) if self.teacher_cost else None,
            "student_cost": asdict(self.student_cost),
            "spending": asdict(self.spending),
            "winner": self.winner.to_dict() if self.winner else None,
        }

    @classmethod
    def read(cls, store: Store, study: str) -> Results:
        """What `write` left; raises UserError where the study has no results (yet), or not those that were written."""
        text = store.read_file(f"studies/{study}/{SUMMARY}")
        if text is None:
            raise UserError(f"study {study!r}: {store.shown} holds no results of it; `wetakd ls` shows what it holds")
        try:
            return cls._of(unsealed(text), store, study)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"study {study!r}: its results on {store.shown} are damaged; run it again, which does only what is lost"
            ) from None

    @classmethod
    def _of(cls, summary: Mapping[str, Any], store: Store, study: str) -> Results:
        tables = {name: store.read_file(f"studies/{study}/{name}.parquet") or b"" for name in _SCHEMAS}
        if any(_sha256(data) != summary["sha256"][name] for name, data in tables.items()):
            raise ValueError("a table is not what was written")
        return cls(
            study=study,
            question=summary["question"],
            **{name: _frame(data) for name, data in tables.items()},
            num_classes=summary["num_classes"],
            primary=tuple(summary["primary"]) if summary["primary"] else None,
            pool=tuple(summary["pool"]),
            teacher_cost=Cost(**summary["teacher_cost"]) if summary["teacher_cost"] else None,
            student_cost=Cost(**summary["student_cost"]),
            spending=Spending(**summary["spending"]),
            winner=Winner.from_dict(summary["winner"]) if summary["winner"] else None,
        )

    def _path(self, name: str) -> str:
        return f"studies/{self.study}/{name}"


def winner_of(summary: bytes) -> Winner | None:
    """The winner that a file SUMMARY names; raises ValueError where the file is damaged."""
    try:
        winner = unsealed(summary)["winner"]
        return Winner.from_dict(winner) if winner else None
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{SUMMARY} is damaged") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sorted(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in an order that depends on what they say alone."""
    if name == "trials":
        keys = [
            (*arm_order(row["strategy"], row["assistants"], row["point"]), row["replicate"], row["seed"])
            for row in frame.to_dict("records")
        ]
        return frame.iloc[sorted(range(len(keys)), key=keys.__getitem__)]
    columns = {"networks": ["replicate", "name"], "curves": ["kind", "uid", "epoch"]}.get(name, ["replicate", "name"])
    return frame.sort_values(columns, kind="stable")


def _parquet(frame: pd.DataFrame, schema: pa.Schema) -> bytes:
    unknown = set(frame.columns) - set(schema.names)
    if unknown:
        raise ValueError(f"columns {sorted(unknown)} have no place in the table")
    columns = [_column(frame, field) for field in schema]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _column(frame: pd.DataFrame, field: pa.Field) -> pa.Array:
    values = frame[field.name].tolist() if field.name in frame.columns else [None] * len(frame)
    return pa.array([_plain(value, field.type) for value in values], type=field.type)


def _plain(value: Any, kind: pa.DataType) -> Any:
    """`value` as Arrow takes it: no NaN for what is missing, no floats where pandas made some of integers."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if pa.types.is_list(kind):
        return list(value)
    return int(value) if pa.types.is_integer(kind) else value


def _frame(data: bytes) -> pd.DataFrame:
    table = pq.read_table(pa.BufferReader(data))
    frame: pd.DataFrame = table.to_pandas()
    for field in table.schema:
        if pa.types.is_list(field.type):
            frame[field.name] = pd.Series(table[field.name].to_pylist(), index=frame.index, dtype=object)
    return frame
