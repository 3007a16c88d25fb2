"""The result tables of a study: one row a trial, one a network, one an epoch, one a contribution.

Rows stand in the order of the plan, and nothing in a result column depends on time, place or luck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from wetakd.cluster.capacity import num_workers
from wetakd.config import TEACHER, NetworkConfig, SweepPoint
from wetakd.logits import logit_cache
from wetakd.plan.outcomes import TrainedNetwork, TrainedStudent
from wetakd.plan.study_plan import Plan
from wetakd.plan.trials import Trial
from wetakd.results import columns
from wetakd.results.columns import CONTRIBUTIONS_SCHEMA, CURVES_SCHEMA, NETWORKS_SCHEMA, TRIALS_SCHEMA
from wetakd.results.cost_records import StudyCost
from wetakd.results.evaluation_facts import EvaluationFacts
from wetakd.stages.searches import Searches, TrialWeights
from wetakd.storage.addresses import WEIGHTS_BLOB
from wetakd.weights import SearchResult


def trials_table(
    trials: Sequence[Trial],
    trial_weights: TrialWeights,
    outcomes: Mapping[Trial, TrainedStudent],
    networks: Mapping[tuple[int, str], TrainedNetwork],
) -> pd.DataFrame:
    """Every trial with all that is known before the test set is opened."""
    rows = []
    for trial in trials:
        row = _arm_columns(trial, networks) | _search_columns(
            trial_weights.weights.get(trial), trial_weights.results.get(trial)
        )
        row |= _student_columns(outcomes[trial]) if trial in outcomes else {columns.ERROR: trial_weights.errors[trial]}
        rows.append({column: row.get(column) for column in TRIALS_SCHEMA.names})
    return pd.DataFrame(rows, columns=TRIALS_SCHEMA.names)


def _arm_columns(trial: Trial, networks: Mapping[tuple[int, str], TrainedNetwork]) -> dict[str, Any]:
    facts = [networks[trial.replicate, name].facts for name in trial.arm.assistants]
    sizes = [found.parameters for found in facts if found is not None]
    return {
        columns.STRATEGY: trial.arm.strategy,
        columns.ASSISTANTS: list(trial.arm.assistants),
        columns.NUM_ASSISTANTS: len(trial.arm.assistants),
        columns.ASSISTANT_PARAMETERS: None if None in sizes else sum(sizes),
        columns.REPLICATE: trial.replicate,
        columns.SEED: trial.seed,
        columns.POINT: trial.arm.point.to_json(),
    }


def _search_columns(weights_K: tuple[float, ...] | None, result: SearchResult | None) -> dict[str, Any]:
    cells: dict[str, Any] = {columns.WEIGHTS: list(weights_K) if weights_K else None}
    if result is not None:
        cells |= {
            columns.EVALUATIONS: result.evaluations,
            columns.SEARCH_SECONDS: result.seconds,
            columns.ACCURACY_CAP: result.accuracy_cap,
            columns.GAP: result.gap,
            columns.CROSSFIT_GAIN: result.crossfit_gain,
            columns.CROSSFIT_ERROR: result.crossfit_error,
        }
    return cells


def _student_columns(outcome: TrainedStudent) -> dict[str, Any]:
    cells: dict[str, Any] = {columns.STUDENT_KEY: outcome.student.key, columns.ERROR: outcome.error}
    if outcome.manifest is not None and outcome.facts is not None:
        cells |= {
            columns.STUDENT_DIGEST: outcome.manifest.blobs[WEIGHTS_BLOB].sha256,
            columns.STUDENT_CHOOSE_ACCURACY: outcome.facts.epochs[-1].choose_accuracy,
            columns.TRAIN_SECONDS: outcome.facts.train_seconds,
        }
    elif outcome.stopped_at is not None:
        cells |= {
            columns.STUDENT_CHOOSE_ACCURACY: outcome.stopped_at.choose_accuracy,
            columns.STOPPED_AT_EPOCH: outcome.stopped_at.epoch,
        }
    return cells


def add_test_scores(
    table: pd.DataFrame,
    student_scores: Mapping[str, EvaluationFacts],
    ensemble_scores: Mapping[tuple[int, tuple[str, ...], tuple[float, ...]], Mapping[str, float]],
) -> pd.DataFrame:
    """The table with the columns that only the opened test set can fill."""
    rows = table.to_dict("records")
    for row in rows:
        if row[columns.STUDENT_KEY] in student_scores:
            row.update(student_scores[row[columns.STUDENT_KEY]].to_dict())
        if row[columns.WEIGHTS] is not None:
            mixture = (row[columns.REPLICATE], tuple(row[columns.ASSISTANTS]), tuple(row[columns.WEIGHTS]))
            row.update(ensemble_scores.get(mixture, {}))
    return pd.DataFrame(rows, columns=TRIALS_SCHEMA.names)


def networks_table(
    networks: Mapping[tuple[int, str], TrainedNetwork], scores: Mapping[tuple[int, str], Mapping[str, float]]
) -> pd.DataFrame:
    """Every network of every replicate."""
    rows = []
    for place, network in networks.items():
        facts = network.facts
        found = scores.get(place, {})
        rows.append(
            {
                columns.NAME: network.node.name,
                columns.ROLE: TEACHER if network.node.name == TEACHER else "assistant",
                columns.REPLICATE: network.node.replicate,
                columns.TAUGHT_BY: list(network.node.teachers),
                columns.PARAMETERS: facts.parameters if facts else None,
                columns.MACS: facts.macs if facts else None,
                columns.CHOOSE_ACCURACY: found.get("choose_accuracy"),
                columns.TEST_ACCURACY: found.get("test_accuracy"),
                columns.TEST_NLL: found.get("test_nll"),
                columns.TRAIN_SECONDS: facts.train_seconds if facts else None,
                columns.KEY: network.node.key,
                columns.TRAINED: network.trained,
                columns.IMPORTED: _imported(network.node.config),
                columns.ERROR: network.error,
            }
        )
    return pd.DataFrame(rows, columns=NETWORKS_SCHEMA.names)


def _imported(network: NetworkConfig) -> str | None:
    """Where a network comes from that was not trained here."""
    if not network.is_imported:
        return None
    return f"{'checkpoint' if network.checkpoint else 'logits'}, trained on: {network.trained_on}"


def curves_table(
    networks: Mapping[tuple[int, str], TrainedNetwork], outcomes: Mapping[Trial, TrainedStudent]
) -> pd.DataFrame:
    """Every epoch of every network and of every distinct student."""
    sources = [("network", n.node.uid, n.node.name, n.facts.epochs) for n in networks.values() if n.facts is not None]
    seen: set[str] = set()
    for trial, outcome in outcomes.items():
        if outcome.facts is not None and outcome.student.key not in seen:
            seen.add(outcome.student.key)
            sources.append(("student", trial.uid, trial.arm.label, outcome.facts.epochs))
    rows = [
        {
            columns.UID: uid,
            columns.KIND: kind,
            columns.LABEL: label,
            columns.EPOCH: e.epoch,
            columns.LOSS: e.loss,
            columns.LR: e.lr,
        }
        | {columns.CHOOSE_ACCURACY: e.choose_accuracy}
        for kind, uid, label, epochs in sources
        for e in epochs
    ]
    return pd.DataFrame(rows, columns=CURVES_SCHEMA.names)


def contributions_table(plan: Plan, searches: Searches) -> pd.DataFrame:
    """What each network of the pool adds to the ensemble, by replicate."""
    rows = []
    for replicate, added in sorted(searches.contributions.items()):
        shapley = added.shapley_K if added.shapley_K is not None else [None] * len(plan.config.pool)
        for name, without, share in zip(plan.config.pool, added.leave_one_out_K, shapley, strict=True):
            rows.append(
                {
                    columns.REPLICATE: replicate,
                    columns.NAME: name,
                    columns.LEAVE_ONE_OUT: float(without),
                    columns.SHAPLEY: None if share is None else float(share),
                }
            )
    return pd.DataFrame(rows, columns=CONTRIBUTIONS_SCHEMA.names)


def spending(plan: Plan, trials: pd.DataFrame, networks: pd.DataFrame, searches: Searches) -> StudyCost:
    """What the finished part of a study took."""
    config = plan.config
    cores = {name: network.placement.cpus * num_workers(network) for name, network in config.networks.items()}
    gpus = {name: network.placement.gpus * num_workers(network) for name, network in config.networks.items()}
    has_gpus = any(gpus.values()) or config.student.placement.gpus > 0
    given = {name for name, network in config.networks.items() if network.logits}
    students = trials[trials[columns.ERROR].isna()].drop_duplicates(columns.STUDENT_KEY).to_dict("records")
    student_seconds = sum(_cell_or_zero(row[columns.TRAIN_SECONDS]) for row in students)
    num_fit = len(plan.dataset.splits.fit)
    trained = networks[networks[columns.TRAIN_SECONDS].notna()].to_dict("records")
    return StudyCost(
        network_core_seconds=sum(cores[row[columns.NAME]] * row[columns.TRAIN_SECONDS] for row in trained),
        search_core_seconds=sum(result.seconds for result in searches.results.values()),
        student_core_seconds=config.student.placement.cpus * student_seconds,
        bank_passes=len(networks[networks[columns.ERROR].isna() & ~networks[columns.NAME].isin(given)])
        * logit_cache.num_cache_rows(plan.dataset, config.views.num),
        usual_passes=sum(_num_epochs(plan, row) * num_fit * row[columns.NUM_ASSISTANTS] for row in students),
        network_gpu_seconds=sum(gpus[row[columns.NAME]] * row[columns.TRAIN_SECONDS] for row in trained)
        if has_gpus
        else None,
        student_gpu_seconds=config.student.placement.gpus * student_seconds if has_gpus else None,
    )


def _num_epochs(plan: Plan, row: Mapping[Any, Any]) -> int:
    point = SweepPoint.from_json(row[columns.POINT])
    return int(_cell_or_zero(row[columns.STOPPED_AT_EPOCH])) or plan.student_config(point).recipe.epochs


def _cell_or_zero(value: float | None) -> float:
    """A cell, 0 where it is empty."""
    return 0.0 if value is None or value != value else float(value)
