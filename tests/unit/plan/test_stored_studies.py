"""What storage holds, and what may go."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.plan.planned_results import store_networks
from tests.unit.simulated_results import simulated
from tests.unit.tiny import dataset
from wetakd.common.errors import UserError
from wetakd.config.study_file import load_study_file
from wetakd.config.study_record import dump_record
from wetakd.plan.orphans import find_orphans
from wetakd.plan.result_keys import evaluation_key
from wetakd.plan.stored_studies import find_studies, read_study_config
from wetakd.plan.study_plan import Plan, control_weights
from wetakd.plan.study_references import record_references
from wetakd.results.findings import compute_findings
from wetakd.storage.addresses import evaluation_address, search_address, student_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import Lease
from wetakd.storage.stored_checkpoints import StoredCheckpoints
from wetakd.weights import SearchResult


def plan(*overrides: str) -> Plan:
    return Plan(load_study_file(None, overrides), dataset())


def test_what_a_study_refers_to_is_kept_and_the_rest_is_refuse(tmp_path: Path) -> None:
    store, kept = Store(str(tmp_path)), plan()
    old = plan("teacher.recipe.lr=0.5")
    for node in (*kept.nodes, *old.nodes):
        store.commit(f"networks/{node.key}", {"weights.safetensors": b"weights"}, {})
    store.commit("students/known", {}, {})
    store.commit("students/unknown", {}, {})
    record_references(store, kept, ["students/known"])
    found = {item.path for item in find_orphans(store)}
    assert found == {f"networks/{node.key}" for node in old.nodes} | {"students/unknown"}


def test_a_start_of_an_interrupted_study_forgets_none_of_its_students(tmp_path: Path) -> None:
    store, study = Store(str(tmp_path)), plan()
    students = ["students/one", "students/two", "students/three"]
    record_references(store, study)
    record_references(store, study, students)
    for address in students:
        store.commit(address, {}, {})
    record_references(store, study)  # the next start
    assert list(find_orphans(store)) == []


def test_a_start_after_the_list_was_damaged_finds_the_students_whose_weights_are_known(tmp_path: Path) -> None:
    store, study = Store(str(tmp_path)), plan()
    store.write("studies/digits/study.json", b"of a study that has begun")
    store.write("studies/digits/addresses.json", b"{}")
    controls = [trial for trial in study.trials if not trial.arm.is_searched]
    keys = store_networks(store, study)
    for student in (keys.student(trial, control_weights(trial)) for trial in controls):
        manifest = store.commit(student_address(student.key), {}, {})
        store.commit(evaluation_address(evaluation_key(student.key, manifest, study.dataset)), {}, {})
    record_references(store, study)
    assert list(find_orphans(store)) == []


def test_a_revised_study_needs_what_its_new_file_needs(tmp_path: Path) -> None:
    store, old, new = Store(str(tmp_path)), plan(), plan("teacher.recipe.lr=0.5")
    record_references(store, old, ["students/old"])
    for node in (*old.nodes, *new.nodes):
        store.commit(f"networks/{node.key}", {}, {})
    store.commit("students/old", {}, {})
    record_references(store, new, replace=True)
    found = {item.path for item in find_orphans(store)}
    assert found == {f"networks/{node.key}" for node in old.nodes} | {"students/old"}


def test_what_is_newer_than_a_study_that_runs_is_kept(tmp_path: Path) -> None:
    """Such a study may need it and not have recorded that yet."""
    store = Store(str(tmp_path))
    made = ["students/old", "networks/old", "students/new", "failures/students/new"]
    store.commit("students/old", {}, {})
    store.commit("networks/old", {}, {})
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    with Lease(store, "studies/digits/lease.json"):
        store.commit("students/new", {}, {})
        store.commit("failures/students/new", {}, {})
        assert [item.path for item in find_orphans(store)] == ["networks/old", "students/old"]
    assert sorted(item.path for item in find_orphans(store)) == sorted(made)


def test_temporary_folders_of_a_killed_driver_are_refuse_and_those_of_a_live_one_are_not(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("studies/digits/tmp/wetakd-killed/file", b"four")
    with Lease(store, "studies/digits/lease.json"):
        assert list(find_orphans(store)) == []
    assert [(item.path, item.size) for item in find_orphans(store)] == [("studies/digits/tmp/wetakd-killed", 4)]


def test_checkpoints_of_pruned_students_are_refuse_once_the_study_has_ended(tmp_path: Path) -> None:
    store, study = Store(str(tmp_path)), plan()
    record_references(store, study, ["students/done", "students/pruned"])
    store.commit("students/done", {}, {})
    StoredCheckpoints.at(store, "students/pruned").save(b"state")
    assert list(find_orphans(store)) == []
    record_references(store, study, ["students/done"], replace=True)  # what the results need
    assert [item.path for item in find_orphans(store)] == ["students/pruned"]


def test_two_studies_keep_what_either_needs(tmp_path: Path) -> None:
    store, one, two = Store(str(tmp_path)), plan(), plan("study.name=two", "teacher.recipe.lr=0.5")
    for node in (*one.nodes, *two.nodes):
        store.commit(f"networks/{node.key}", {}, {})
    record_references(store, one)
    record_references(store, two)
    assert list(find_orphans(store)) == []


def test_searches_of_a_study_are_kept(tmp_path: Path) -> None:
    store, study = Store(str(tmp_path)), plan()
    keys = store_networks(store, study)
    searches = {keys.search(t).key: len(t.arm.assistants) for t in study.trials if t.arm.is_searched}
    result = SearchResult(np.ones(1), "de", 0, "accuracy", 1, 0.1, 0.5, 1.0, 0.5, None, None, None)
    for key, num in {**searches, keys.contributions(0).key: 3}.items():
        store.commit(search_address(key), {}, {**result.to_dict(), "weights": [1 / num] * num})
    store.write("studies/digits/study.json", b"of a study that has begun")
    record_references(store, study)  # the record was lost
    assert list(find_orphans(store)) == []


def test_a_study_without_a_summary_has_only_begun(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert find_studies(store) == []
    record_references(store, plan())
    assert [(entry.name, entry.state, entry.winner) for entry in find_studies(store)] == [("digits", "begun", "")]


def test_a_damaged_list_of_references_deletes_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    record_references(store, plan())
    whole = store.read_file("studies/digits/addresses.json") or b""
    key = plan().nodes[0].key.encode()
    store.write("studies/digits/study.json", b"of a study that has begun")
    for damaged in (b"", b"{}", b"[1", whole.replace(key, b"0" * len(key)), None):
        if damaged is None:
            store.delete("studies/digits/addresses.json")
        else:
            store.write("studies/digits/addresses.json", damaged)
        with pytest.raises(UserError, match="missing or damaged"):
            list(find_orphans(store))


def test_a_study_with_damaged_results_is_listed_as_torn(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("studies/digits/summary.json", b"{}")
    assert [entry.state for entry in find_studies(store)] == ["torn"]


class Counting(Store):
    """Keeps which files are read and which folders are listed."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.read_paths: list[str] = []
        self.listed: list[str] = []

    def _buffer(self, path: str) -> Any:
        self.read_paths.append(path)
        return super()._buffer(path)

    def _files(self, folder: str) -> Any:
        self.listed.append(folder)
        return super()._files(folder)


def test_the_list_of_studies_reads_one_summary_a_study_and_lists_storage_once(tmp_path: Path) -> None:
    store = Counting(str(tmp_path))
    for name in ("one", "two"):
        replace(simulated(num_seeds=2), study=name).write(store)
        store.write(f"studies/{name}/figures/accuracy.png", b"png")
    assert [(entry.name, entry.state) for entry in find_studies(store)] == [("one", "done"), ("two", "done")]
    assert store.read_paths == ["studies/one/summary.json", "studies/two/summary.json"]
    assert store.listed == ["studies"]
    assert [entry.size for entry in find_studies(store)] == [store.size(f"studies/{name}") for name in ("one", "two")]


def test_the_file_of_a_study_is_found_without_a_look_into_other_folders(tmp_path: Path) -> None:
    store = Counting(str(tmp_path))
    for name in ("digits", "other"):
        store.write(f"studies/{name}/study.json", dump_record(plan(f"study.name={name}").config))
    assert read_study_config(store, "digits").study.name == "digits"
    with pytest.raises(UserError, match="has digits, other"):
        read_study_config(store, "third")
    assert store.read_paths == ["studies/digits/study.json"]
    assert store.listed == []


def test_unfinished_writes_and_folders_of_dead_worker_groups_are_refuse_once_they_are_old(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    names = ["studies/digits/.trials.parquet.0a1b2c3d.part", "train/key-0a1b2c3d/state.json"]
    for name in (*names, "studies/digits/report.txt"):
        store.write(name, b"x")
    assert list(find_orphans(store)) == []
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0))
    assert [item.path for item in find_orphans(store)] == names


def test_a_finished_study_names_its_winner_as_its_report_does(tmp_path: Path) -> None:
    results, store = simulated(), Store(str(tmp_path))
    results.write(store)
    (entry,) = find_studies(store)
    assert entry.state == "done"
    assert [entry.winner] == [row.arm.label for row in compute_findings(results).rows if row.is_winner]
