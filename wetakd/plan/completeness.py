"""Whether everything in a plan is stored already."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from wetakd.common.errors import UserError
from wetakd.plan.student_keys import student_key
from wetakd.plan.study_plan import Plan
from wetakd.plan.study_references import (
    references_of,
)
from wetakd.plan.trials import Trial
from wetakd.results import columns
from wetakd.results.stored_results import Results
from wetakd.storage import failure_records
from wetakd.storage.addresses import (
    evaluation_address,
    logit_cache_address,
    network_address,
    search_address,
    student_address,
)
from wetakd.storage.atomic_store import Store


def is_complete(store: Store, plan: Plan) -> bool:
    """Whether storage holds all that the plan asks for, undamaged, with its results: to run it would do nothing.

    A recorded failure counts as done if the results have it as a failure, too, and so does a student that the results
    have as pruned.
    """
    try:
        results = Results.read(store, plan.config.study.name)
        if results.question != plan.config.question or not references_of(store, plan.config.study.name):
            return False
    except UserError:
        return False
    pruned = results.trials.loc[results.trials[columns.STOPPED_AT_EPOCH].notna(), columns.STUDENT_KEY]
    outcomes = _Outcomes(store, plan, set(pruned))
    if None in outcomes.failed.values():
        return False
    shown = {_place_of_row(row) for row in results.trials[results.trials[columns.ERROR].notna()].to_dict("records")}
    return shown == {_place_of_trial(trial) for trial, failed in outcomes.failed.items() if failed}


def has_network(store: Store, plan: Plan, name: str) -> bool:
    """Whether no task of the network `name` is left in any replicate.

    Each is stored undamaged with its logits, or its failure is recorded.
    """
    keys = [node.key for node in plan.nodes if node.name == name]
    return all(
        failure_records.find_failure(store, network_address(key)) is not None
        or all(store.find_intact(address(key)) is not None for address in (network_address, logit_cache_address))
        for key in keys
    )


def _place_of_row(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return (
        row[columns.STRATEGY],
        tuple(row[columns.ASSISTANTS]),
        row[columns.POINT],
        row[columns.REPLICATE],
        row[columns.SEED],
    )


def _place_of_trial(trial: Trial) -> tuple[Any, ...]:
    return trial.arm.strategy, trial.arm.assistants, trial.arm.point.to_json(), trial.replicate, trial.seed


class _Outcomes:
    """How each trial of a plan ended, as far as storage knows."""

    def __init__(self, store: Store, plan: Plan, pruned: Set[str]) -> None:
        self._store, self._plan, self._pruned = store, plan, pruned
        self._ended: dict[tuple[str, ...], bool | None] = {}
        self._networks: dict[tuple[int, str], bool | None] = {}
        for node in plan.nodes:
            teachers = [self._networks[node.replicate, name] for name in node.teachers]
            own = network_address(node.key), logit_cache_address(node.key)
            failed = True if True in teachers else self._failed(*own)
            self._networks[node.replicate, node.name] = failed
        self.failed = {trial: self._trial(trial) for trial in plan.trials}
        """Whether a trial failed; None where that is not known yet, or a part of it is missing or damaged."""
        if None in self._networks.values():
            self.failed = dict.fromkeys(plan.trials)

    def _trial(self, trial: Trial) -> bool | None:
        if any(self._networks[trial.replicate, name] for name in trial.arm.assistants):
            return True
        key = student_key(self._store, self._plan, trial)
        if key in self._pruned:
            return False
        if key is not None:
            return self._failed(student_address(key), evaluation_address(key))
        search = search_address(self._plan.search(trial).key)
        return True if failure_records.find_failure(self._store, search) is not None else None

    def _failed(self, *addresses: str) -> bool | None:
        """False where all of `addresses` are intact, True where a failure of the first is recorded, else None."""
        if addresses not in self._ended:
            intact = all(self._store.find_intact(address) is not None for address in addresses)
            known = not intact and failure_records.find_failure(self._store, addresses[0]) is not None
            self._ended[addresses] = known if intact or known else None
        return self._ended[addresses]
