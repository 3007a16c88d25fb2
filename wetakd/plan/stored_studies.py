"""What storage holds: the studies, and what none of them refers to (`wetakd ls`, `wetakd gc`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import check_tree, recorded
from wetakd.plan.references import (
    RECORD,
)
from wetakd.results.display_names import recipe_label
from wetakd.results.stored_results import SUMMARY, winner_of
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import live_since
from wetakd.storage.temporary_folders import temporary_folders_address


@dataclass(frozen=True)
class StudyEntry:
    """One study on storage."""

    name: str
    state: str
    winner: str
    """Its recipe, as the report names it; empty where there is none."""
    size: int


def studies(store: Store) -> list[StudyEntry]:
    """Every study, by name."""
    sizes = store.sizes("studies")
    return [_entry(store, folder.removeprefix("studies/"), sizes[folder]) for folder in sorted(sizes)]


def config_of(store: Store, study: str) -> StudyConfig:
    """The file that a study was run with, tracked where the environment says now (the record has no credentials).

    Raises UserError where storage knows no such study.
    """
    names = [folder.removeprefix("studies/") for folder in store.folders("studies")]
    if study not in names:
        there = ", ".join(names) or "no studies"
        raise UserError(
            f"study {study!r}: is not on {store.redacted_uri}, which has {there}; run it, or name its --storage"
        )
    tree = recorded(store.read_file(f"studies/{study}/{RECORD}"))
    if tree is None:
        raise UserError(f"study {study!r}: its file on {store.redacted_uri} is missing or damaged; run the study again")
    config = check_tree(tree)
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        config = config.model_copy(update={"mlflow": config.mlflow.model_copy(update={"tracking_uri": uri})})
    return config


def _entry(store: Store, name: str, size: int) -> StudyEntry:
    state, label = "begun", ""
    summary = store.read_file(f"studies/{name}/{SUMMARY}")
    if summary is not None:
        try:
            winner = winner_of(summary)
            state, label = "done", recipe_label(winner.strategy, winner.assistants, winner.point) if winner else ""
        except ValueError:
            state = "torn"
    return StudyEntry(name, state, label, size)


def _left_temporary_folders(store: Store) -> Iterator[str]:
    """Temporary folders of studies that nobody runs."""
    for study in store.addresses("studies"):
        # Listed before the lease is read: a driver that takes it afterwards makes other folders.
        left = store.addresses(temporary_folders_address(study.removeprefix("studies/")))
        if left and live_since(store, f"{study}/lease.json") is None:
            yield from left
