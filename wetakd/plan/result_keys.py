"""Keys of what is made from logit caches: searches, contributions and students.

They contain the digests of the caches, so they are known once the networks are finished: results from different
logits have different keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wetakd.common.canonical_json import key_of, seed_of
from wetakd.config import STUDENT
from wetakd.data.dataset import Dataset
from wetakd.logits import logit_cache
from wetakd.plan import key_payloads
from wetakd.plan.study_plan import Plan, control_weights
from wetakd.plan.trials import NetworkNode, PoolContributions, Search, Student, Trial
from wetakd.storage.addresses import contributions_address, logit_cache_address, network_address, search_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.manifest import Manifest
from wetakd.weights import SearchResult


class ResultKeys:
    """The searches and students of a plan, for networks whose logit caches are known.

    Args:
        plan: the plan.
        cache_digests: SHA-256 of the logit cache of each network that is finished, by (replicate, name).
    """

    def __init__(self, plan: Plan, cache_digests: Mapping[tuple[int, str], str]) -> None:
        self._plan = plan
        self._digests = cache_digests

    @classmethod
    def stored(cls, store: Store, plan: Plan) -> ResultKeys:
        """For the caches that are stored now; they are not read."""
        found = ((node, _stored_cache_digest(store, node)) for node in plan.nodes)
        digests = {(node.replicate, node.name): digest for node, digest in found if digest is not None}
        return cls(plan, digests)

    def has_caches(self, trial: Trial) -> bool:
        """Whether the caches of all networks that teach the student of a trial are known."""
        return all((trial.replicate, name) in self._digests for name in trial.arm.assistants)

    def search(self, trial: Trial) -> Search:
        """The search that gives a trial its weights; the trial's seed determines the seed of the search.

        Raises KeyError where the cache of a network is not known.
        """
        seed = seed_of("search", trial.replicate, trial.seed)
        caches = [self._digests[trial.replicate, name] for name in trial.arm.assistants]
        payload = key_payloads.search_payload(
            trial.arm.strategy,
            self._plan.config.weights,
            data=self._plan.dataset.fingerprint,
            caches=caches,
            seed=seed,
        )
        return Search(trial.arm.strategy, trial.arm.assistants, trial.replicate, seed, key_of(payload), payload)

    def contributions(self, replicate: int) -> PoolContributions:
        """What each network of the pool adds to the ensemble; raises KeyError where a cache is not known."""
        caches = [self._digests[replicate, name] for name in self._plan.config.pool]
        payload = key_payloads.contributions_payload(
            self._plan.config.weights, data=self._plan.dataset.fingerprint, caches=caches
        )
        return PoolContributions(replicate, key_of(payload), payload)

    def search_addresses(self) -> set[str]:
        """Where the searches and contributions of all networks with known caches are stored, or will be."""
        study, pool = self._plan.config.study, self._plan.config.pool
        trials = (trial for trial in self._plan.trials if trial.arm.is_searched and self.has_caches(trial))
        found = {search_address(self.search(trial).key) for trial in trials}
        for replicate in range(study.replicates):
            if len(pool) > 1 and all((replicate, name) in self._digests for name in pool):
                found.add(contributions_address(self.contributions(replicate).key))
        return found

    def student(self, trial: Trial, weights_K: Iterable[float]) -> Student:
        """The student of a trial, once its weights are known. Networks of weight 0 do not teach, so are left out.

        Raises KeyError where the cache of a teacher is not known.
        """
        plan = self._plan
        config = plan.student_config(trial.arm.point)
        weights = [(name, float(w)) for name, w in zip(trial.arm.assistants, weights_K, strict=True) if w > 0]
        teachers = [(self._digests[trial.replicate, name], weight) for name, weight in weights]
        precision = plan.precision_of(STUDENT, config.recipe)
        payload = key_payloads.training_payload(
            "student",
            key_payloads.STUDENT_VERSION,
            data=plan.dataset.fingerprint,
            views=plan.config.views,
            model=config.model,
            recipe=config.recipe,
            precision=precision,
            seed=trial.student_seed,
            distillation=config.distillation if teachers else None,
            mixture=plan.config.weights.mixture,
            teachers=teachers,
            workers=0,
        )
        return Student(
            key_of(payload),
            config,
            precision,
            trial.student_seed,
            tuple(digest for digest, _ in teachers),
            tuple(weight for _, weight in teachers),
            payload,
        )

    def stored_student(self, store: Store, trial: Trial) -> Student | None:
        """The student of a trial; None while storage lacks a cache, or the search that weighs its teachers."""
        if not self.has_caches(trial):
            return None
        weights: Iterable[float] = control_weights(trial)
        if trial.arm.is_searched:
            found = store.find(search_address(self.search(trial).key))
            if found is None:
                return None
            weights = SearchResult.from_dict(found.facts).weights.tolist()
        return self.student(trial, weights)


def cache_key(node: NetworkNode, network: Manifest) -> str:
    """The key of the logit cache of a stored network."""
    return key_of(key_payloads.cache_payload(node.key, network))


def evaluation_key(student_key: str, student: Manifest, dataset: Dataset) -> str:
    """The key of the evaluation of a stored student on the split test."""
    return key_of(key_payloads.evaluation_payload(student_key, student, data=dataset.fingerprint))


def _stored_cache_digest(store: Store, node: NetworkNode) -> str | None:
    """SHA-256 of the logit cache of a network as it is stored; None where the network or its cache is missing."""
    network = store.find(network_address(node.key))
    if network is None:
        return None
    cache = store.find(logit_cache_address(cache_key(node, network)))
    return None if cache is None else logit_cache.cache_digest(cache)
