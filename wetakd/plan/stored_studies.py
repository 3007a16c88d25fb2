"""What storage holds: the studies, and what none of them refers to (`wetakd ls`, `wetakd gc`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from wetakd.common.canonical_json import sealed, unsealed
from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import check, recorded
from wetakd.plan.study_plan import Plan, Trial, control_weights
from wetakd.results.arms import recipe_label
from wetakd.results.stored_results import SUMMARY, Results, winner_of
from wetakd.storage import failure_records
from wetakd.storage.lease import live_since
from wetakd.storage.scratch import scratch_path
from wetakd.storage.store import Store

ADDRESSED = ("networks", "bank", "searches", "students", "judgements")
_REFERENCES = "addresses.json"
RECORD = "study.yaml"
"""The study file that a study was run with, in its folder."""
# What a running attempt has just written is not refuse.
_STRAY_AGE_S = 3600.0
_TRAIN_AGE_S = 24 * 3600.0


@dataclass(frozen=True)
class StudyEntry:
    """One study on storage."""

    name: str
    state: str
    winner: str
    """Its recipe, as the report names it; empty where there is none."""
    size: int


@dataclass(frozen=True)
class Refuse:
    """Something that no study refers to."""

    path: str
    size: int
    why: str


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
        raise UserError(f"study {study!r}: is not on {store.shown}, which has {there}; run it, or name its --storage")
    tree = recorded(store.read_file(f"studies/{study}/{RECORD}"))
    if tree is None:
        raise UserError(f"study {study!r}: its file on {store.shown} is missing or damaged; run the study again")
    config = check(tree)
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


def remember(store: Store, plan: Plan, student_keys: Iterable[str] = (), *, replace: bool = False) -> None:
    """Record what a study refers to, so that `refuse` leaves it alone. Its students are known once weights are.

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
    addresses = {f"{kind}/{key}" for kind in ADDRESSED for key in keys[kind]} | set(before or ())
    store.write(f"studies/{name}/{_REFERENCES}", sealed({"addresses": sorted(addresses)}))


def _has_begun(store: Store, folder: str) -> bool:
    return any(store.read_file(f"{folder}/{name}") is not None for name in (RECORD, SUMMARY))


def is_complete(store: Store, plan: Plan) -> bool:
    """Whether storage holds all that the plan asks for, undamaged, with its results: to run it would do nothing.

    A recorded failure counts as done if the results have it as a failure, too, and so does a student that the results
    have as pruned.
    """
    try:
        results = Results.read(store, plan.config.study.name)
        if results.question != plan.config.question or not _references(store, f"studies/{plan.config.study.name}"):
            return False
    except UserError:
        return False
    pruned = results.trials.loc[results.trials["stopped_at_epoch"].notna(), "student_key"]
    outcomes = _Outcomes(store, plan, set(pruned))
    if None in outcomes.failed.values():
        return False
    shown = {_place(row) for row in results.trials[results.trials["error"].notna()].to_dict("records")}
    return shown == {_place_of(trial) for trial, failed in outcomes.failed.items() if failed}


def has_network(store: Store, plan: Plan, name: str) -> bool:
    """Whether no task of the network `name` is left in any replicate.

    Each is stored undamaged with its logits, or its failure is recorded.
    """
    keys = [node.key for node in plan.nodes if node.name == name]
    return all(
        failure_records.find(store, f"networks/{key}") is not None
        or all(store.find_intact(f"{kind}/{key}") is not None for kind in ("networks", "bank"))
        for key in keys
    )


def forget_failures(store: Store, plan: Plan) -> None:
    """Remove the recorded failures of a study, so that what failed is tried again."""
    keys = {student_key(store, plan, trial) for trial in plan.trials} - {None}
    addresses = {f"networks/{node.key}" for node in plan.nodes} | {f"students/{key}" for key in keys}
    addresses |= {f"searches/{plan.search(trial).key}" for trial in plan.trials if trial.arm.is_searched}
    failure_records.forget(store, sorted(addresses | set(_recorded_references(store, plan.config.study.name) or ())))


def _place(row: Mapping[Any, Any]) -> tuple[Any, ...]:
    return row["strategy"], tuple(row["assistants"]), row["point"], row["replicate"], row["seed"]


def _place_of(trial: Trial) -> tuple[Any, ...]:
    return trial.arm.strategy, trial.arm.assistants, trial.arm.point, trial.replicate, trial.seed


class _Outcomes:
    """How each trial of a plan ended, as far as storage knows."""

    def __init__(self, store: Store, plan: Plan, pruned: Set[str]) -> None:
        self._store, self._plan, self._pruned = store, plan, pruned
        self._ended: dict[tuple[str, ...], bool | None] = {}
        self._networks: dict[tuple[int, str], bool | None] = {}
        for node in plan.nodes:
            teachers = [self._networks[node.replicate, name] for name in node.teachers]
            failed = True if True in teachers else self._failed(f"networks/{node.key}", f"bank/{node.key}")
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
            return self._failed(f"students/{key}", f"judgements/{key}")
        search = f"searches/{self._plan.search(trial).key}"
        return True if failure_records.find(self._store, search) is not None else None

    def _failed(self, *addresses: str) -> bool | None:
        """False where all of `addresses` are intact, True where a failure of the first is recorded, else None."""
        if addresses not in self._ended:
            intact = all(self._store.find_intact(address) is not None for address in addresses)
            known = not intact and failure_records.find(self._store, addresses[0]) is not None
            self._ended[addresses] = known if intact or known else None
        return self._ended[addresses]


def student_key(store: Store, plan: Plan, trial: Trial) -> str | None:
    """Key of a trial's student; None while storage lacks the search that weighs its teachers."""
    weights: Iterable[float] = control_weights(trial)
    if trial.arm.is_searched:
        search = store.find(f"searches/{plan.search(trial).key}")
        if search is None:
            return None
        weights = search.facts["weights"]
    return plan.student(trial, weights).key


def _recorded_references(store: Store, study: str) -> list[str] | None:
    """The addresses that a study is recorded to need; None where the record is missing or damaged."""
    try:
        addresses: list[str] = unsealed(store.read_file(f"studies/{study}/{_REFERENCES}") or b"")["addresses"]
    except (ValueError, KeyError):
        return None
    return addresses


def _references(store: Store, folder: str) -> list[str]:
    if store.read_file(f"{folder}/{_REFERENCES}") is None and not _has_begun(store, folder):
        return []
    addresses = _recorded_references(store, folder.removeprefix("studies/"))
    if addresses is None:
        raise UserError(
            f"{folder}/{_REFERENCES}: is missing or damaged: nobody knows what the study needs; run it again, or "
            f"delete {folder}"
        )
    return addresses


def refuse(store: Store) -> Iterator[Refuse]:
    """What no study refers to: whole addresses, and files that dead attempts left in living ones.

    Nothing that is newer than the start of a study that runs: it may need it and not have recorded that yet.
    """
    now = time.time()
    running = list(_running_since(store))
    since = min([now, *running])

    def may_go(address: str) -> bool:
        changed = store.changed_at(address)
        return changed < since if changed is not None else not running

    stray_age_s, train_age_s = max(_STRAY_AGE_S, now - since), max(_TRAIN_AGE_S, now - since)
    kept = {address for folder in store.addresses("studies") for address in _references(store, folder)}
    for kind in ADDRESSED:
        for address in store.addresses(kind):
            if address not in kept and may_go(address):
                yield Refuse(address, store.size(address), "no study refers to it")
            elif address in kept and store.find(address) is not None:
                for path in store.strays(address, older_than_s=stray_age_s):
                    yield Refuse(path, store.size(path), "left by an attempt that died")
        for record in store.addresses(failure_records.record_address(kind)):
            if record.removeprefix(failure_records.record_address("")) not in kept and may_go(record):
                yield Refuse(record, store.size(record), "the failure of what no study refers to")
    for path in _left_temporary_folders(store):
        yield Refuse(path, store.size(path), "temporary files of a driver that was killed")
    for path in store.strays("studies", older_than_s=stray_age_s):
        if path.endswith(".part"):
            yield Refuse(path, store.size(path), "a write that was never finished")
    for path in store.strays("train", older_than_s=train_age_s):
        yield Refuse(path, store.size(path), "left by a worker group whose driver died")


def _left_temporary_folders(store: Store) -> Iterator[str]:
    """Temporary folders of studies that nobody runs."""
    for study in store.addresses("studies"):
        # Listed before the lease is read: a driver that takes it afterwards makes other folders.
        left = store.addresses(scratch_path(study.removeprefix("studies/")))
        if left and live_since(store, f"{study}/lease.json") is None:
            yield from left


def _running_since(store: Store) -> Iterator[float]:
    """When each study that runs was started."""
    for folder in store.addresses("studies"):
        if (since := live_since(store, f"{folder}/lease.json")) is not None:
            yield since
