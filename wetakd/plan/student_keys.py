"""The key of a trial's student, known once its search is stored."""

from __future__ import annotations

from collections.abc import Iterable

from wetakd.plan.study_plan import Plan, control_weights
from wetakd.plan.trials import Trial
from wetakd.storage.addresses import search_address
from wetakd.storage.atomic_store import Store
from wetakd.weights import SearchResult


def student_key(store: Store, plan: Plan, trial: Trial) -> str | None:
    """Key of a trial's student; None while storage lacks the search that weighs its teachers."""
    weights: Iterable[float] = control_weights(trial)
    if trial.arm.is_searched:
        search = store.find(search_address(plan.search(trial).key))
        if search is None:
            return None
        weights = SearchResult.from_dict(search.facts).weights.tolist()
    return plan.student(trial, weights).key
