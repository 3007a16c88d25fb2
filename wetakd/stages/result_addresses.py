"""Where the results of a running study are stored, for the record of what the study refers to."""

from __future__ import annotations

from collections.abc import Iterable

from wetakd.data.dataset import Dataset
from wetakd.plan.outcomes import Networks, TrainedStudent, cache_addresses
from wetakd.plan.result_keys import evaluation_key
from wetakd.stages.searches import Searches
from wetakd.storage.addresses import (
    contributions_address,
    evaluation_address,
    search_address,
    student_address,
)


def search_addresses(searches: Searches) -> set[str]:
    """Of the searches, also of those that failed, and of the contributions."""
    keys = searches.results.keys() | searches.errors.keys()
    return {search_address(key) for key in keys} | {contributions_address(key) for key in searches.contribution_keys}


def student_addresses(students: Iterable[TrainedStudent], dataset: Dataset) -> set[str]:
    """Of the students that were not stopped, and of their evaluations."""
    found = set()
    for outcome in students:
        if outcome.stopped_at is None:
            found.add(student_address(outcome.student.key))
        if outcome.manifest is not None:
            found.add(evaluation_address(evaluation_key(outcome.student.key, outcome.manifest, dataset)))
    return found


def result_addresses(
    networks: Networks, searches: Searches, students: Iterable[TrainedStudent], dataset: Dataset
) -> set[str]:
    """Of everything that a study refers to beside its networks."""
    return cache_addresses(networks) | search_addresses(searches) | student_addresses(students, dataset)
