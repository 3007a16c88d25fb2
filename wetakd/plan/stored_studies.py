"""The studies that storage holds, and the study file of each (`wetakd ls`)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import config_from_tree
from wetakd.config.study_record import load_record
from wetakd.plan.study_references import (
    STUDY_FILE,
)
from wetakd.results.display_names import recipe_label
from wetakd.results.stored_results import SUMMARY, read_winner
from wetakd.storage.addresses import STUDIES, study_of, study_path
from wetakd.storage.atomic_store import Store


@dataclass(frozen=True)
class StudyEntry:
    """One study on storage."""

    name: str
    state: str
    winner: str
    """Its recipe, as the report names it; empty where there is none."""
    size: int


def find_studies(store: Store) -> list[StudyEntry]:
    """Every study, by name."""
    sizes = store.address_sizes(STUDIES)
    return [_entry(store, study_of(folder), sizes[folder]) for folder in sorted(sizes)]


def read_study_config(store: Store, study: str) -> StudyConfig:
    """The file that a study was run with, tracked where the environment says now (the record has no credentials).

    Raises UserError where storage knows no such study.
    """
    names = [study_of(folder) for folder in store.folders(STUDIES)]
    if study not in names:
        there = ", ".join(names) or "no studies"
        raise UserError(
            f"study {study!r}: is not on {store.redacted_uri}, which has {there}; run it, or name its --storage"
        )
    tree = load_record(store.read_file(study_path(study, STUDY_FILE)))
    if tree is None:
        raise UserError(f"study {study!r}: its file on {store.redacted_uri} is missing or damaged; run the study again")
    config = config_from_tree(tree | {"storage": store.uri})
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        config = config.model_copy(update={"mlflow": config.mlflow.model_copy(update={"tracking_uri": uri})})
    return config


def _entry(store: Store, name: str, size: int) -> StudyEntry:
    state, label = "begun", ""
    summary = store.read_file(study_path(name, SUMMARY))
    if summary is not None:
        try:
            winner = read_winner(summary)
            state, label = "done", recipe_label(winner.strategy, winner.assistants, winner.point) if winner else ""
        except ValueError:
            state = "torn"
    return StudyEntry(name, state, label, size)
