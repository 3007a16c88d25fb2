"""The weight searches of a study: from logit caches to points on the simplex, on the split weigh and nothing else.

One Ray task serves all searches over the same networks, so their scores are compiled once. Each result is stored
under its key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import ray

from wetakd.cluster import heartbeat
from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress
from wetakd.cluster.task_options import ensemble_placement, task_options
from wetakd.config import WeightsConfig
from wetakd.data.splits import SplitLabels
from wetakd.logits import logit_cache
from wetakd.plan.outcomes import Networks, cache_digests
from wetakd.plan.result_addresses import network_result_addresses
from wetakd.plan.result_keys import ResultKeys
from wetakd.plan.study_plan import control_weights
from wetakd.plan.study_references import record_references
from wetakd.plan.trials import PoolContributions, Search, Trial
from wetakd.stages.ensemble_search import SearchFailure, ensemble_problem, run_search
from wetakd.stages.study_context import StudyContext
from wetakd.storage import failure_records
from wetakd.storage.addresses import contributions_address, search_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.failure_records import Failure
from wetakd.weights import Contributions, Problem, SearchResult, contributions

Pool = tuple[int, tuple[str, ...]]


@dataclass(frozen=True)
class Searches:
    """What the searches found."""

    results: Mapping[str, SearchResult]
    errors: Mapping[str, str]
    contributions: Mapping[int, Contributions]
    """By replicate."""
    num_new: int


@dataclass(frozen=True)
class TrialWeights:
    """The weights of every trial that can run, where they came from, and why the others cannot."""

    weights: Mapping[Trial, tuple[float, ...]]
    results: Mapping[Trial, SearchResult]
    searches: Searches
    errors: Mapping[Trial, str]


def search_weights(study: StudyContext, networks: Networks) -> TrialWeights:
    """Weights for every trial whose networks did not fail."""
    errors = {}
    for trial in study.plan.trials:
        failed = [name for name in trial.arm.assistants if networks[trial.replicate, name].error]
        if failed:
            errors[trial] = f"network {failed[0]} failed: {networks[trial.replicate, failed[0]].error}"
    trials = [trial for trial in study.plan.trials if trial not in errors]
    keys = ResultKeys(study.plan, cache_digests(networks))
    record_references(study.store, study.plan, network_result_addresses(study.plan, networks))
    with study.stage("weights", 1.0) as stage:
        searches = _search(
            study,
            trials,
            keys,
            networks,
            lambda done, total: stage.step(done / max(total, 1), f"{done} of {total} sets of networks"),
        )
    key_of = {trial: keys.search(trial).key for trial in trials if trial.arm.is_searched}
    errors |= {trial: searches.errors[key] for trial, key in key_of.items() if key in searches.errors}
    results = {trial: searches.results[key] for trial, key in key_of.items() if trial not in errors}
    weights = {
        trial: tuple(results[trial].weights.tolist()) if trial in results else control_weights(trial)
        for trial in trials
        if trial not in errors
    }
    return TrialWeights(weights, results, searches, errors)


def _search(
    study: StudyContext,
    trials: Sequence[Trial],
    keys: ResultKeys,
    networks: Networks,
    on_progress: Callable[[int, int], None],
) -> Searches:
    """Search the weights of every trial that needs them and that storage lacks.

    Returns results, or why there is none, by search key, and what each network of the pool adds, by replicate.
    `on_progress(done, total)` counts pools.
    """
    config = study.config
    by_pool: dict[Pool, dict[str, Search]] = defaultdict(dict)
    for trial in trials:
        if trial.arm.is_searched:
            search = keys.search(trial)
            by_pool[trial.replicate, trial.arm.assistants][search.key] = search
    for replicate in range(config.study.replicates):
        if len(config.pool) > 1 and not any(networks[replicate, name].error for name in config.pool):
            by_pool.setdefault((replicate, config.pool), {})

    def start(pool: Pool, address: HeartbeatAddress) -> ray.ObjectRef[Any]:
        replicate, names = pool
        return address.start_task(
            task_options(ensemble_placement(config.student.placement), config.limits.retries),
            _search_pool,
            study.store.uri,
            list(by_pool[pool].values()),
            [networks[replicate, name].ref for name in names],
            study.labels_ref,
            config.weights,
            keys.contributions(replicate) if names == config.pool else None,
        )

    results: dict[str, SearchResult] = {}
    errors: dict[str, str] = {}
    added: dict[int, Contributions] = {}
    num_new = 0
    on_progress(0, len(by_pool))
    starts = {pool: partial(start, pool) for pool in by_pool}
    finished = heartbeat.results(starts, config.limits, _search_label)
    for done, (pool, answer) in enumerate(finished, start=1):
        found, failed, new, contribution = answer
        results |= found
        errors |= failed
        num_new += new
        on_progress(done, len(by_pool))
        if contribution is not None:
            added[pool[0]] = contribution
    return Searches(results, errors, added, num_new)


def _search_label(pool: Pool) -> str:
    replicate, names = pool
    return f"weight searches over {', '.join(names)} (replicate {replicate})"


def _search_pool(
    heartbeat: Heartbeat,
    store_uri: str,
    searches: Sequence[Search],
    cache_refs: Sequence[ray.ObjectRef[pa.Table]],
    labels: SplitLabels,
    config: WeightsConfig,
    added: PoolContributions | None,
) -> tuple[dict[str, SearchResult], dict[str, str], int, Contributions | None]:
    store = Store(store_uri)
    problem = ensemble_problem(
        [logit_cache.logits_of_table(table) for table in ray.get(list(cache_refs))], labels, config, "weigh"
    )
    found: dict[str, SearchResult] = {}
    failed: dict[str, str] = {}
    num_new = 0
    for search in searches:
        heartbeat.beat()
        manifest = store.find(search_address(search.key))
        if manifest is not None:
            found[search.key] = SearchResult.from_dict(manifest.facts)
            continue
        known = failure_records.find_failure(store, search_address(search.key))
        result = SearchFailure(known.reason, is_recorded=False) if known else run_search(problem, search, config)
        if isinstance(result, SearchFailure):
            failed[search.key] = result.reason
            if result.is_recorded:
                failure_records.record_failure(store, search_address(search.key), Failure(result.reason))
            continue
        found[search.key] = result
        store.commit(search_address(search.key), {}, result.to_dict(), search.payload)
        num_new += 1
    return found, failed, num_new, _contributions(store, problem, added) if added else None


def _contributions(store: Store, problem: Problem, added: PoolContributions) -> Contributions:
    manifest = store.find(contributions_address(added.key))
    if manifest is not None:
        return Contributions.from_dict(manifest.facts)
    result = contributions(problem)
    store.commit(contributions_address(added.key), {}, result.to_dict(), added.payload)
    return result
