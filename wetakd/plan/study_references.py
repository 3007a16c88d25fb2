"""What a study refers to on storage, recorded so that `wetakd gc` keeps it."""

from __future__ import annotations

from collections.abc import Iterable

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.common.errors import UserError
from wetakd.plan.student_keys import student_key
from wetakd.plan.study_plan import Plan
from wetakd.results.stored_results import SUMMARY
from wetakd.storage import failure_records
from wetakd.storage.atomic_store import Store

RESULT_KINDS = ("networks", "bank", "searches", "students", "judgements")


_REFERENCES = "addresses.json"


STUDY_FILE = "study.yaml"
"""The study file that a study was run with, in its folder."""


def record_references(store: Store, plan: Plan, student_keys: Iterable[str] = (), *, replace: bool = False) -> None:
    """Record what a study refers to, so that `find_orphans` leaves it alone. Its students are known once weights are.

    It is added to what is recorded already, which an interrupted study needs when it goes on.

    replace: forget what is recorded; for a revised study, and for one that has ended.
    """
    name, student_keys = plan.config.study.name, set(student_keys)
    before = None if replace else _recorded_references(store, name)
    if not replace and before is None and _has_begun(store, f"studies/{name}"):  # the record was lost
        student_keys |= {key for trial in plan.trials if (key := student_key(store, plan, trial)) is not None}
    searches = [plan.search(trial).key for trial in plan.trials if trial.arm.is_searched]
    contributions = [plan.contributions_key(replicate) for replicate in range(plan.config.study.replicates)]
    keys = {
        "networks": [node.key for node in plan.nodes],
        "bank": [node.key for node in plan.nodes],
        "searches": searches + contributions,
        "students": list(student_keys),
        "judgements": list(student_keys),
    }
    addresses = {f"{kind}/{key}" for kind in RESULT_KINDS for key in keys[kind]} | set(before or ())
    store.write(f"studies/{name}/{_REFERENCES}", dump_with_digest({"addresses": sorted(addresses)}))


def _has_begun(store: Store, folder: str) -> bool:
    return any(store.read_file(f"{folder}/{name}") is not None for name in (STUDY_FILE, SUMMARY))


def forget_failures(store: Store, plan: Plan) -> None:
    """Remove the recorded failures of a study, so that what failed is tried again."""
    keys = {student_key(store, plan, trial) for trial in plan.trials} - {None}
    addresses = {f"networks/{node.key}" for node in plan.nodes} | {f"students/{key}" for key in keys}
    addresses |= {f"searches/{plan.search(trial).key}" for trial in plan.trials if trial.arm.is_searched}
    failure_records.forget_failures_at(
        store, sorted(addresses | set(_recorded_references(store, plan.config.study.name) or ()))
    )


def _recorded_references(store: Store, study: str) -> list[str] | None:
    """The addresses that a study is recorded to need; None where the record is missing or damaged."""
    try:
        addresses: list[str] = load_with_digest(store.read_file(f"studies/{study}/{_REFERENCES}") or b"")["addresses"]
    except (ValueError, KeyError):
        return None
    return addresses


def references_of(store: Store, folder: str) -> list[str]:
    """The addresses that the study in `folder` needs; raises UserError where their record is missing or damaged."""
    if store.read_file(f"{folder}/{_REFERENCES}") is None and not _has_begun(store, folder):
        return []
    addresses = _recorded_references(store, folder.removeprefix("studies/"))
    if addresses is None:
        raise UserError(
            f"{folder}/{_REFERENCES}: is missing or damaged: nobody knows what the study needs; run it again, or "
            f"delete {folder}"
        )
    return addresses
