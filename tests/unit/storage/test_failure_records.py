"""Records of failures: found under the address of the result that is missing, kept as long as a study refers to it."""

from pathlib import Path

from tests.unit.tiny import dataset
from wetakd.config.study_file import load_study_file
from wetakd.plan.orphans import find_orphans
from wetakd.plan.study_plan import Plan
from wetakd.plan.study_references import record_references
from wetakd.storage import failure_records
from wetakd.storage.atomic_store import Store
from wetakd.storage.failure_records import Failure


def test_a_failure_is_found_with_its_epochs_until_it_is_forgotten(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    failure = Failure("training diverged in epoch 2", [{"epoch": 1, "loss": 0.5}])
    failure_records.record_failure(store, "students/one", failure)
    assert failure_records.find_failure(store, "students/one") == failure
    assert failure_records.find_failure(store, "students/two") is None
    assert store.list() == ["failures/students/one/manifest.json"]
    failure_records.forget_failures_at(store, ["students/one", "students/two"])
    assert failure_records.find_failure(store, "students/one") is None


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    failure_records.record_failure(store, "networks/one", Failure("no"))
    path = tmp_path / "failures/networks/one/manifest.json"
    path.write_bytes(path.read_bytes().replace(b"no", b"on"))
    assert failure_records.find_failure(store, "networks/one") is None


def test_gc_keeps_the_failures_of_a_study_and_deletes_the_others(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    plan = Plan(load_study_file(None, ()), dataset())
    record_references(store, plan, ["students/known"])
    kept = [f"networks/{plan.nodes[0].key}", "students/known"]
    for address in [*kept, "networks/other", "students/other", "searches/other"]:
        failure_records.record_failure(store, address, Failure("no"))
    found = {item.path for item in find_orphans(store)}
    assert found == {"failures/networks/other", "failures/students/other", "failures/searches/other"}
