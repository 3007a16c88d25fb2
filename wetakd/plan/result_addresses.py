"""Where the results of a study that runs are stored, for the record of what the study refers to."""

from __future__ import annotations

from collections.abc import Iterable

from wetakd.data.dataset import Dataset
from wetakd.plan.outcomes import Networks, TrainedStudent, cache_digests
from wetakd.plan.result_keys import ResultKeys, cache_key, evaluation_key
from wetakd.plan.study_plan import Plan
from wetakd.storage.addresses import evaluation_address, logit_cache_address, student_address


def network_result_addresses(plan: Plan, networks: Networks) -> set[str]:
    """Of the logit caches of the networks that did not fail, and of the searches over them."""
    manifests = ((network.node, network.manifest) for network in networks.values())
    caches = {logit_cache_address(cache_key(node, manifest)) for node, manifest in manifests if manifest is not None}
    return caches | ResultKeys(plan, cache_digests(networks)).search_addresses()


def student_addresses(students: Iterable[TrainedStudent], dataset: Dataset) -> set[str]:
    """Of the students that were not stopped, and of their evaluations."""
    found = set()
    for outcome in students:
        if outcome.stopped_at is None:
            found.add(student_address(outcome.student.key))
        if outcome.manifest is not None:
            found.add(evaluation_address(evaluation_key(outcome.student.key, outcome.manifest, dataset)))
    return found
