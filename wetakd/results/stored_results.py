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

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.common.errors import UserError
from wetakd.config import SweepPoint
from wetakd.results import columns
from wetakd.results.columns import CONTRIBUTIONS_SCHEMA, CURVES_SCHEMA, NETWORKS_SCHEMA, TRIALS_SCHEMA
from wetakd.results.cost_records import NetworkCost, StudyCost
from wetakd.results.winner import Winner, arm_order
from wetakd.storage.addresses import study_path
from wetakd.storage.atomic_store import Store

_SCHEMAS = {
    "trials": TRIALS_SCHEMA,
    "networks": NETWORKS_SCHEMA,
    "curves": CURVES_SCHEMA,
    "contributions": CONTRIBUTIONS_SCHEMA,
}


SUMMARY = "summary.json"
"""Where it stands in a study's folder, the study has results."""


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
    teacher_cost: NetworkCost | None
    """None where only its logits are known."""
    student_cost: NetworkCost
    spending: StudyCost
    winner: Winner | None
    """Chosen on `choose`; None where no student was finished."""

    def write(self, store: Store) -> None:
        """Put tables and summary into the study's folder, the summary last."""
        tables = {name: _table_bytes(_sorted(name, getattr(self, name)), schema) for name, schema in _SCHEMAS.items()}
        for name, data in tables.items():
            store.write(study_path(self.study, f"{name}.parquet"), data)
        summary = self.summary() | {"sha256": {name: _sha256(data) for name, data in tables.items()}}
        store.write(study_path(self.study, SUMMARY), dump_with_digest(summary))

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
        text = store.read_file(study_path(study, SUMMARY))
        if text is None:
            raise UserError(
                f"study {study!r}: {store.redacted_uri} holds no results of it; `wetakd ls` shows what it holds"
            )
        try:
            return cls._of(load_with_digest(text), store, study)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"study {study!r}: its results on {store.redacted_uri} are damaged; run it again, "
                "which does only what is lost"
            ) from None

    @classmethod
    def _of(cls, summary: Mapping[str, Any], store: Store, study: str) -> Results:
        tables = {name: store.read_file(study_path(study, f"{name}.parquet")) or b"" for name in _SCHEMAS}
        if any(_sha256(data) != summary["sha256"][name] for name, data in tables.items()):
            raise ValueError("a table is not what was written")
        return cls(
            study=study,
            question=summary["question"],
            **{name: _frame(data) for name, data in tables.items()},
            num_classes=summary["num_classes"],
            primary=tuple(summary["primary"]) if summary["primary"] else None,
            pool=tuple(summary["pool"]),
            teacher_cost=NetworkCost(**summary["teacher_cost"]) if summary["teacher_cost"] else None,
            student_cost=NetworkCost(**summary["student_cost"]),
            spending=StudyCost(**summary["spending"]),
            winner=Winner.from_dict(summary["winner"]) if summary["winner"] else None,
        )


def read_winner(summary: bytes) -> Winner | None:
    """The winner that a file SUMMARY names; raises ValueError where the file is damaged."""
    try:
        winner = load_with_digest(summary)["winner"]
        return Winner.from_dict(winner) if winner else None
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{SUMMARY} is damaged") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sorted(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in an order that depends on what they say alone."""
    if name == "trials":
        keys = [(*_arm_order_of(row), row[columns.REPLICATE], row[columns.SEED]) for row in frame.to_dict("records")]
        return frame.iloc[sorted(range(len(keys)), key=keys.__getitem__)]
    order = [columns.KIND, columns.UID, columns.EPOCH] if name == "curves" else [columns.REPLICATE, columns.NAME]
    return frame.sort_values(order, kind="stable")


def _arm_order_of(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return arm_order(row[columns.STRATEGY], row[columns.ASSISTANTS], SweepPoint.from_json(row[columns.POINT]))


def _table_bytes(frame: pd.DataFrame, schema: pa.Schema) -> bytes:
    unknown = set(frame.columns) - set(schema.names)
    if unknown:
        raise ValueError(f"columns {sorted(unknown)} have no place in the table")
    arrays = [_column(frame, field) for field in schema]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, schema=schema), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _column(frame: pd.DataFrame, field: pa.Field) -> pa.Array:
    values = frame[field.name].tolist() if field.name in frame.columns else [None] * len(frame)
    return pa.array([_arrow_value(value, field.type) for value in values], type=field.type)


def _arrow_value(value: Any, kind: pa.DataType) -> Any:
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
