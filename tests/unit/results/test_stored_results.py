"""Results as they lie on storage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.unit.simulated_results import replaced, simulated
from wetakd.common.errors import UserError
from wetakd.report.report import build_report
from wetakd.results.columns import CURVES_SCHEMA, NETWORKS_SCHEMA, TRIALS_SCHEMA
from wetakd.results.stored_results import Results
from wetakd.storage.atomic_store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.mark.parametrize("primary", [("de", "uniform"), None])
def test_what_is_read_makes_the_same_report(store: Store, primary: tuple[str, str] | None) -> None:
    results = simulated(num_seeds=2, primary=primary)
    results.write(store)
    again = Results.read(store, "made-up")
    assert build_report(again).to_dict() == build_report(results).to_dict()
    assert build_report(again).text == build_report(results).text
    assert again.winner == results.winner
    assert again.primary == primary
    assert again.student_cost == results.student_cost


def test_files_have_stable_names_and_types(store: Store, tmp_path: Path) -> None:
    simulated(num_seeds=2).write(store)
    folder = tmp_path / "studies" / "made-up"
    assert {path.name for path in folder.iterdir()} == {
        "trials.parquet", "networks.parquet", "curves.parquet", "contributions.parquet", "summary.json",
    }  # fmt: skip
    assert pq.read_schema(folder / "trials.parquet").equals(TRIALS_SCHEMA)
    assert pq.read_schema(folder / "networks.parquet").equals(NETWORKS_SCHEMA)
    assert pq.read_schema(folder / "curves.parquet").equals(CURVES_SCHEMA)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["winner"]["student_key"] == simulated(num_seeds=2).winner.student_key  # type: ignore[union-attr]


def test_values_survive_to_the_last_bit(store: Store) -> None:
    results = simulated(num_seeds=2)
    results.write(store)
    read = Results.read(store, "made-up").trials
    merged = results.trials.merge(read, on=["student_key"], suffixes=("", "_read"))
    assert len(merged) == len(results.trials)
    assert merged["student_test_accuracy"].equals(merged["student_test_accuracy_read"])
    assert merged["weights"].dropna().tolist() == merged["weights_read"].dropna().tolist()
    assert merged["assistants"].tolist() == merged["assistants_read"].tolist()


def test_bytes_do_not_depend_on_row_order(store: Store, tmp_path: Path) -> None:
    results = simulated(num_seeds=2)
    results.write(store)
    folder = tmp_path / "studies" / "made-up"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    Results(
        **{
            **results.__dict__,
            **{
                name: getattr(results, name).sample(frac=1, random_state=3)
                for name in ("trials", "networks", "curves", "contributions")
            },
        }
    ).write(store)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_missing_cells_stay_missing(store: Store) -> None:
    results = simulated(num_seeds=2)
    trials = results.trials.copy()
    trials["stopped_at_epoch"] = [3.0, *[np.nan] * (len(trials) - 1)]
    trials["error"] = ["boom", *[None] * (len(trials) - 1)]
    replaced(results, trials).write(store)
    read = Results.read(store, "made-up").trials
    assert read["stopped_at_epoch"].notna().sum() == 1
    assert read["error"].notna().sum() == 1
    assert read["weights"].map(type).isin([list, type(None)]).all()


def test_replicates_of_a_networks_table_and_no_winner(store: Store) -> None:
    results = simulated(replicates=2, num_seeds=1)
    failed = replaced(results, results.trials.assign(error="boom"))
    failed.write(store)
    read = Results.read(store, "made-up")
    assert read.winner is None
    assert set(read.networks["replicate"]) == {0, 1}


def test_an_unknown_column_is_our_mistake(store: Store) -> None:
    results = simulated(num_seeds=1)
    with pytest.raises(ValueError, match="surprise"):
        replaced(results, results.trials.assign(surprise=1)).write(store)


def test_a_study_without_results_is_named(store: Store) -> None:
    with pytest.raises(UserError, match="nowhere"):
        Results.read(store, "nowhere")


@pytest.mark.parametrize("name", ["trials.parquet", "networks.parquet", "curves.parquet", "summary.json"])
def test_results_that_were_changed_or_cut_are_not_read(store: Store, tmp_path: Path, name: str) -> None:
    simulated(num_seeds=2).write(store)
    file = tmp_path / "studies" / "made-up" / name
    whole = file.read_bytes()
    flipped = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
    for damaged in (b"", b"{}", b"[]", whole[: len(whole) // 2], flipped):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="run it again"):
            Results.read(store, "made-up")
