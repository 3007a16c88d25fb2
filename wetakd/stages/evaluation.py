"""The test set, opened once: after the winner is chosen, for every arm alike.

Students are evaluated in Ray tasks, several a task. Each evaluation is stored under the student's key, with the
correctness of every single test image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import ray

from wetakd.cluster import heartbeat
from wetakd.cluster.heartbeat import Heartbeat, HeartbeatAddress
from wetakd.cluster.task_options import ensemble_placement, task_options
from wetakd.common.canonical_json import key_of
from wetakd.config import ModelConfig, StudentConfig, StudyConfig, WeightsConfig
from wetakd.data.dataset import Dataset
from wetakd.data.splits import SplitLabels
from wetakd.logits import logit_cache
from wetakd.models.cost import measure_cost
from wetakd.models.latency import latency_ms
from wetakd.models.registry import input_shape, new_model
from wetakd.plan.key_payloads import evaluation_payload
from wetakd.plan.outcomes import Networks, TrainedStudent
from wetakd.plan.result_addresses import student_addresses
from wetakd.plan.study_references import record_references
from wetakd.plan.trials import Trial, device_of
from wetakd.results.classification_scores import classification_scores
from wetakd.results.cost_records import NetworkCost
from wetakd.results.evaluation_facts import EvaluationFacts
from wetakd.results.stored_results import Results
from wetakd.results.winner import Winner
from wetakd.stages import result_tables
from wetakd.stages.ensemble_search import ensemble_problem
from wetakd.stages.searches import Pool, TrialWeights
from wetakd.stages.study_context import StudyContext
from wetakd.stages.training_run import load_model
from wetakd.storage.addresses import evaluation_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.manifest import Manifest
from wetakd.training.inference import predict

Mixture = tuple[int, tuple[str, ...], tuple[float, ...]]
_STUDENTS_A_TASK = 16
_CORRECT_BLOB = "correct.bits"


def evaluate_on_test(
    study: StudyContext,
    table: pd.DataFrame,
    winner: Winner | None,
    networks: Networks,
    trial_weights: TrialWeights,
    outcomes: Mapping[Trial, TrainedStudent],
) -> Results:
    """Open the test set, once, for all; the winner is known already."""
    distinct = {outcome.student.key: outcome for outcome in outcomes.values()}
    record_references(study.store, study.plan, student_addresses(distinct.values(), study.dataset))
    with study.stage("test", 1.0) as stage:
        student_scores = evaluate_students(
            distinct.values(),
            study.config,
            study.store,
            study.dataset_ref,
            lambda done, total: stage.step(done / max(total, 1), f"{done} of {total} students"),
        )
        mixtures = [(t.replicate, t.arm.assistants, w) for t, w in trial_weights.weights.items() if w]
        ensemble_scores = evaluate_ensembles(mixtures, networks, study.config, study.labels_ref)
        network_scores = evaluate_networks(networks, study.dataset)
    networks_table = result_tables.networks_table(networks, network_scores)
    return Results(
        study=study.config.study.name,
        question=study.config.question,
        trials=result_tables.add_test_scores(table, student_scores, ensemble_scores),
        networks=networks_table,
        curves=result_tables.curves_table(networks, outcomes),
        contributions=result_tables.contributions_table(study.plan, trial_weights.searches),
        num_classes=study.dataset.num_classes,
        primary=study.config.study.declared,
        pool=study.config.pool,
        teacher_cost=None if study.config.teacher.logits else _cost(study, study.config.teacher),
        student_cost=_cost(study, study.config.student, timed=winner is not None),
        spending=result_tables.spending(study.plan, table, networks_table, trial_weights.searches),
        winner=winner,
    )


def _cost(study: StudyContext, network: StudentConfig, *, timed: bool = False) -> NetworkCost:
    """`timed`: measure its latency here and now, when students are done and nothing else of the study runs."""
    model, shape = (
        new_model(network.model, study.dataset, seed=0),
        input_shape(study.dataset),
    )
    size = measure_cost(model, shape)
    return NetworkCost(size.parameters, size.macs, size.bytes, latency_ms(model, shape) if timed else None)


def evaluate_students(
    students: Iterable[TrainedStudent],
    config: StudyConfig,
    store: Store,
    dataset_ref: ray.ObjectRef[Dataset],
    on_progress: Callable[[int, int], None],
) -> dict[str, EvaluationFacts]:
    """Test scores of every finished student by its key. `on_progress(done, total)` counts students."""
    finished = [
        _FinishedStudent(s.student.key, s.manifest, s.student.config.model, s.student.config.recipe.threads)
        for s in students
        if s.manifest is not None
    ]
    chunks = [finished[i : i + _STUDENTS_A_TASK] for i in range(0, len(finished), _STUDENTS_A_TASK)]
    placement = config.student.placement

    def start(number: int, address: HeartbeatAddress) -> ray.ObjectRef[Any]:
        options = task_options(placement, config.limits.retries)
        return address.start_task(
            options, _evaluate_chunk, store.uri, chunks[number], dataset_ref, device_of(placement)
        )

    scores: dict[str, EvaluationFacts] = {}
    starts = {number: partial(start, number) for number in range(len(chunks))}
    on_progress(0, len(finished))
    for _, evaluated in heartbeat.results(starts, config.limits, lambda number: f"test of students, part {number + 1}"):
        scores |= evaluated
        on_progress(len(scores), len(finished))
    return scores


@dataclass(frozen=True)
class _FinishedStudent:
    key: str
    manifest: Manifest
    model: ModelConfig
    num_threads: int


def _evaluate_chunk(
    heartbeat: Heartbeat, store_uri: str, students: Sequence[_FinishedStudent], dataset: Dataset, device: str
) -> dict[str, EvaluationFacts]:
    store = Store(store_uri)
    return {student.key: _evaluate_student(store, student, dataset, device, heartbeat.beat) for student in students}


def _evaluate_student(
    store: Store, student: _FinishedStudent, dataset: Dataset, device: str, on_step: Callable[[], None]
) -> EvaluationFacts:
    payload = evaluation_payload(student.key, student.manifest, data=dataset.fingerprint)
    address = evaluation_address(key_of(payload))
    found = store.find_intact(address)
    if found is not None:
        return EvaluationFacts.from_manifest(found)
    network = load_model(store, student.manifest, student.model, dataset)
    logits_NC = predict(
        network, dataset, dataset.splits.test, device=device, num_threads=student.num_threads, on_step=on_step
    )
    labels_N = dataset.labels_N[dataset.splits.test]
    facts = EvaluationFacts.of(classification_scores(logits_NC, labels_N))
    correct_N = logits_NC.argmax(axis=1) == labels_N
    store.commit(address, {_CORRECT_BLOB: np.packbits(correct_N).tobytes()}, facts.to_dict(), payload)
    return facts


def evaluate_ensembles(
    mixtures: Iterable[Mixture],
    networks: Networks,
    config: StudyConfig,
    labels_ref: ray.ObjectRef[SplitLabels],
) -> dict[Mixture, dict[str, float]]:
    """Accuracy and NLL of every (replicate, names, weights) mixture on weigh, choose and test."""
    by_pool: dict[Pool, list[tuple[float, ...]]] = {}
    for replicate, names, weights in dict.fromkeys(mixtures):
        by_pool.setdefault((replicate, names), []).append(weights)

    def start(pool: Pool, address: HeartbeatAddress) -> ray.ObjectRef[Any]:
        refs = [networks[pool[0], name].ref for name in pool[1]]
        options = task_options(ensemble_placement(config.student.placement), config.limits.retries)
        return address.start_task(options, _evaluate_pool, refs, by_pool[pool], labels_ref, config.weights)

    evaluated: dict[Mixture, dict[str, float]] = {}
    starts = {pool: partial(start, pool) for pool in by_pool}
    for (replicate, names), rows in heartbeat.results(starts, config.limits, _pool_label):
        for weights, row in zip(by_pool[replicate, names], rows, strict=True):
            evaluated[replicate, names, weights] = row
    return evaluated


def _pool_label(pool: Pool) -> str:
    replicate, names = pool
    return f"test of ensembles of {', '.join(names)} (replicate {replicate})"


def _evaluate_pool(
    heartbeat: Heartbeat,
    cache_refs: Sequence[ray.ObjectRef[pa.Table]],
    all_weights: Sequence[tuple[float, ...]],
    labels: SplitLabels,
    config: WeightsConfig,
) -> list[dict[str, float]]:
    logits = [logit_cache.logits_of_table(table) for table in ray.get(list(cache_refs))]
    rows: list[dict[str, float]] = [{} for _ in all_weights]
    for split in ("weigh", "choose", "test"):
        problem = ensemble_problem(logits, labels, config, split)
        for row, weights in zip(rows, all_weights, strict=True):
            heartbeat.beat()
            accuracy, nll = problem.evaluate(np.asarray(weights))
            row[f"ensemble_{split}_accuracy"], row[f"ensemble_{split}_nll"] = float(accuracy), float(nll)
    return rows


def evaluate_networks(networks: Networks, dataset: Dataset) -> dict[tuple[int, str], dict[str, Any]]:
    """Choose and test scores of every finished network, from its logit cache."""
    scores: dict[tuple[int, str], dict[str, Any]] = {}
    for place, network in networks.items():
        if network.cache_ref is None:
            continue
        logits = logit_cache.logits_of_table(ray.get(network.cache_ref))
        on_choose = classification_scores(logits.choose_NC, dataset.labels_N[dataset.splits.choose])
        on_test = classification_scores(logits.test_NC, dataset.labels_N[dataset.splits.test])
        scores[place] = {
            "choose_accuracy": on_choose.accuracy,
            "test_accuracy": on_test.accuracy,
            "test_nll": on_test.nll,
        }
    return scores
