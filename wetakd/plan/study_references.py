"""What a study refers to on storage, recorded so that `wetakd gc` keeps it."""

from __future__ import annotations

from collections.abc import Iterable

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.common.errors import UserError
from wetakd.plan.result_keys import ResultKeys, cache_key, evaluation_key
from wetakd.plan.study_plan import Plan
from wetakd.results.stored_results import SUMMARY
from wetakd.storage import failure_records
from wetakd.storage.addresses import (
    evaluation_address,
    logit_cache_address,
    network_address,
    student_address,
    study_folder,
    study_path,
)
from wetakd.storage.atomic_store import Store

_REFERENCES = "addresses.json"


STUDY_FILE = "study.json"
"""The study file that a study was run with, in its folder."""


def record_references(store: Store, plan: Plan, addresses: Iterable[str] = (), *, replace: bool = False) -> None:
    """Record that a study refers to its networks and to `addresses`, so that `find_orphans` leaves them alone.

    They are added to what is recorded already, which an interrupted study needs when it goes on.

    replace: forget what is recorded; for a revised study, and for one that has ended.
    """
    name = plan.config.study.name
    before = None if replace else _recorded_references(store, name)
    found = {*addresses, *(network_address(node.key) for node in plan.nodes), *(before or ())}
    if not replace and before is None and _has_begun(store, name):  # the record was lost
        found |= _stored_addresses(store, plan)
    store.write(study_path(name, _REFERENCES), dump_with_digest({"addresses": sorted(found)}))


def _stored_addresses(store: Store, plan: Plan) -> set[str]:
    """Where everything of a plan is or belongs, as far as storage knows: a later key depends on earlier results."""
    keys = ResultKeys.stored(store, plan)
    caches = {cache_key(node, network) for node in plan.nodes if (network := store.find(network_address(node.key)))}
    found = {logit_cache_address(key) for key in caches}
    found |= keys.search_addresses()
    for trial in plan.trials:
        if (student := keys.stored_student(store, trial)) is not None:
            address = student_address(student.key)
            found.add(address)
            if (manifest := store.find(address)) is not None:
                found.add(evaluation_address(evaluation_key(student.key, manifest, plan.dataset)))
    return found


def _has_begun(store: Store, study: str) -> bool:
    return any(store.read_file(study_path(study, name)) is not None for name in (STUDY_FILE, SUMMARY))


def forget_failures(store: Store, plan: Plan) -> None:
    """Remove the recorded failures of a study, so that what failed is tried again."""
    addresses = {network_address(node.key) for node in plan.nodes} | _stored_addresses(store, plan)
    addresses |= set(_recorded_references(store, plan.config.study.name) or ())
    failure_records.forget_failures_at(store, sorted(addresses))


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
