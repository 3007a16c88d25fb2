"""What a study refers to on storage, recorded so that `wetakd gc` keeps it."""

from __future__ import annotations

from collections.abc import Iterable

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.common.errors import UserError
from wetakd.plan.student_keys import student_key
from wetakd.plan.study_plan import Plan
from wetakd.results.stored_results import SUMMARY
from wetakd.storage import failure_records
from wetakd.storage.addresses import (
    contributions_address,
    evaluation_address,
    logit_cache_address,
    network_address,
    search_address,
    student_address,
    study_folder,
    study_path,
)
from wetakd.storage.atomic_store import Store

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
    if not replace and before is None and _has_begun(store, name):  # the record was lost
        student_keys |= {key for trial in plan.trials if (key := student_key(store, plan, trial)) is not None}
    addresses = {
        *(address(node.key) for node in plan.nodes for address in (network_address, logit_cache_address)),
        *_search_addresses(plan),
        *(
            contributions_address(plan.contributions_key(replicate))
            for replicate in range(plan.config.study.replicates)
        ),
        *(address(key) for key in student_keys for address in (student_address, evaluation_address)),
        *(before or ()),
    }
    store.write(study_path(name, _REFERENCES), dump_with_digest({"addresses": sorted(addresses)}))


def _search_addresses(plan: Plan) -> set[str]:
    return {search_address(plan.search(trial).key) for trial in plan.trials if trial.arm.is_searched}


def _has_begun(store: Store, study: str) -> bool:
    return any(store.read_file(study_path(study, name)) is not None for name in (STUDY_FILE, SUMMARY))


def forget_failures(store: Store, plan: Plan) -> None:
    """Remove the recorded failures of a study, so that what failed is tried again."""
    keys = {student_key(store, plan, trial) for trial in plan.trials}
    addresses = {network_address(node.key) for node in plan.nodes} | {student_address(key) for key in keys if key}
    addresses |= _search_addresses(plan)
    failure_records.forget_failures_at(
        store, sorted(addresses | set(_recorded_references(store, plan.config.study.name) or ()))
    )


def _recorded_references(store: Store, study: str) -> list[str] | None:
    """The addresses that a study is recorded to need; None where the record is missing or damaged."""
    try:
        addresses: list[str] = load_with_digest(store.read_file(study_path(study, _REFERENCES)) or b"")["addresses"]
    except (ValueError, KeyError):
        return None
    return addresses


def references_of(store: Store, study: str) -> list[str]:
    """The addresses that a study needs; raises UserError where their record is missing or damaged."""
    path = study_path(study, _REFERENCES)
    if store.read_file(path) is None and not _has_begun(store, study):
        return []
    addresses = _recorded_references(store, study)
    if addresses is None:
        raise UserError(
            f"{path}: is missing or damaged: nobody knows what the study needs; run it again, or "
            f"delete {study_folder(study)}"
        )
    return addresses
