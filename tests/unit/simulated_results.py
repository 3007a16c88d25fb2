"""Tables of studies that never ran, with effects that are known: what the report makes of them can be asserted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from wetakd.config import EMPTY_POINT, SweepPoint
from wetakd.results.columns import CONTRIBUTIONS_SCHEMA, CURVES_SCHEMA, NETWORKS_SCHEMA, TRIALS_SCHEMA
from wetakd.results.cost_records import NetworkCost, StudyCost
from wetakd.results.stored_results import Results
from wetakd.results.winner import choose_winner

POOL = ("ta8", "ta6", "ta4")
STRATEGIES = ("uniform", "random", "random_search", "de", "greedy", "convex")
CONTROLS = ("none", "teacher", "single", "dgkd")
_PARAMETERS = {"teacher": 2_487_850, "ta8": 327_962, "ta6": 82_778, "ta5": 60_000, "ta4": 37_338, "ta3": 20_000}


def simulated(
    *,
    pool: Sequence[str] = POOL,
    strategies: Sequence[str] = STRATEGIES,
    controls: Sequence[str] = CONTROLS,
    num_seeds: int = 3,
    replicates: int = 1,
    effects: Mapping[str, float] | None = None,
    count_effect: float = 0.0,
    noise: float = 0.004,
    points: Sequence[SweepPoint] = (EMPTY_POINT,),
    point_effects: Mapping[SweepPoint, float] | None = None,
    subsets: Sequence[Sequence[str]] | None = None,
    primary: tuple[str, str] | None = ("de", "uniform"),
    study: str = "made-up",
    seed: int = 0,
) -> Results:
    """Results whose mean student accuracy is 0.9 + effects[strategy] + count_effect x (assistants - 1).

    Every student of a seed shares that seed's luck (so pairing matters) and has noise of its own. Students keep the
    same noise on `choose` and `test` up to a third of it.
    """
    rng = np.random.default_rng(seed)
    everything = [s for n in range(2, len(pool) + 1) for s in itertools.combinations(pool, n)]
    arms = _arms(pool, strategies, controls, everything if subsets is None else subsets)
    effect_of = {"none": -0.03, "teacher": -0.01, **(effects or {})}
    luck = {(r, s): rng.normal(0, 0.02) for r in range(replicates) for s in range(num_seeds)}
    rows = []
    for replicate, point, (strategy, names), seed_ in itertools.product(
        range(replicates), points, arms, range(num_seeds)
    ):
        base = 0.9 + effect_of.get(strategy, 0.0) + count_effect * max(len(names) - 1, 0)
        base += (point_effects or {}).get(point, 0.0) + luck[replicate, seed_]
        rows.append(_trial(rng, strategy, names, replicate, seed_, point, base + rng.normal(0, noise), noise))
    trials = pd.DataFrame(rows, columns=TRIALS_SCHEMA.names)
    return Results(
        study=study,
        question="0a1b2c3d",
        trials=trials,
        networks=_networks(rng, pool, replicates),
        curves=_curves(trials, pool, replicates),
        contributions=_contributions(pool, replicates),
        num_classes=10,
        primary=primary,
        pool=tuple(pool),
        teacher_cost=NetworkCost(2_487_850, 300_000_000, 9_951_400),
        student_cost=NetworkCost(13_082, 1_500_000, 52_328, 0.41),
        spending=StudyCost(5_400.0, 12.0, 9_000.0, 720_000, 96_000_000),
        winner=choose_winner(trials),
    )


def replaced(results: Results, trials: pd.DataFrame) -> Results:
    """The same study with another trials table, its winner chosen anew."""
    return Results(**{**results.__dict__, "trials": trials, "winner": choose_winner(trials)})


def share_students(trials: pd.DataFrame, strategy: str, like: str, assistants: tuple[str, ...] = POOL) -> pd.DataFrame:
    """The table in which `strategy` has the very students of `like` over a subset."""
    trials = trials.copy()
    over = trials["assistants"].map(tuple) == assistants
    columns = [name for name in trials.columns if name.startswith("student_")]
    source = trials[over & (trials["strategy"] == like)].sort_values(["replicate", "seed"])
    target = trials[over & (trials["strategy"] == strategy)].sort_values(["replicate", "seed"]).index
    trials.loc[target, columns] = source[columns].to_numpy()
    return trials


def with_shared_failed_student() -> Results:
    """Three strategies over the pool have the same students; that of seed 0 failed."""
    results = simulated(num_seeds=2)
    for strategy in ("greedy", "convex"):
        results = replaced(results, share_students(results.trials, strategy, like="de", assistants=POOL))
    key = "de-ta8+ta6+ta4-0-0-{}"
    failed = results.trials["student_key"] == key
    assert failed.sum() == 3
    return replaced(results, results.trials.assign(error=failed.map({True: "the loss is nan", False: None})))


def with_failed_networks(errors: Mapping[str, str], *, replicates: int = 1, in_replicate: int = 0) -> Results:
    """Networks of one replicate failed, and all that need them have no student, as a study writes it."""
    results = simulated(num_seeds=2, replicates=replicates)
    networks, trials = results.networks.copy(), results.trials.copy()
    here = networks["replicate"] == in_replicate
    networks["error"] = [
        errors.get(name) if found else None for name, found in zip(networks["name"], here, strict=True)
    ]
    trials = trials.assign(
        error=[
            next((f"network {name} failed: {errors[name]}" for name in names if name in errors), None)
            if replicate == in_replicate
            else None
            for names, replicate in zip(trials["assistants"], trials["replicate"], strict=True)
        ]
    )
    trials.loc[trials["error"].notna(), ["student_key", "student_test_accuracy", "student_choose_accuracy"]] = None
    return replaced(Results(**{**results.__dict__, "networks": networks}), trials)


def _arms(
    pool: Sequence[str], strategies: Sequence[str], controls: Sequence[str], subsets: Sequence[Sequence[str]]
) -> list[tuple[str, tuple[str, ...]]]:
    arms: list[tuple[str, tuple[str, ...]]] = []
    if "none" in controls:
        arms.append(("none", ()))
    if "teacher" in controls:
        arms.append(("teacher", ("teacher",)))
    if "single" in controls:
        arms += [("single", (name,)) for name in pool]
    if "dgkd" in controls:
        arms.append(("dgkd", ("teacher", *pool)))
    return arms + [(strategy, tuple(subset)) for subset in subsets for strategy in strategies]


def _trial(
    rng: np.random.Generator,
    strategy: str,
    names: tuple[str, ...],
    replicate: int,
    seed: int,
    point: SweepPoint,
    accuracy: float,
    noise: float,
) -> dict[str, Any]:
    searched = strategy in STRATEGIES
    weights = None if not names else rng.dirichlet(np.ones(len(names)) * 3).tolist()
    if names and (not searched or strategy == "uniform"):
        weights = [1 / len(names)] * len(names)
    ensemble = 0.94 + 0.006 * len(names) + rng.normal(0, 0.003)
    row: dict[str, Any] = dict.fromkeys(TRIALS_SCHEMA.names)
    row |= {
        "strategy": strategy,
        "assistants": list(names),
        "num_assistants": len(names),
        "assistant_parameters": sum(_PARAMETERS[name] for name in names),
        "replicate": replicate,
        "seed": seed,
        "point": point.to_json(),
        "weights": weights,
        "student_key": f"{strategy}-{'+'.join(names)}-{replicate}-{seed}-{point.to_json()}",
        "student_choose_accuracy": accuracy + rng.normal(0, noise / 3),
        "student_test_accuracy": accuracy,
        "student_test_macro_accuracy": accuracy - 0.002,
        "student_test_calibration_error": 0.02 + abs(rng.normal(0, 0.003)),
        "student_test_nll": 0.4,
        "train_seconds": 3.2,
    }
    if names:
        row |= {f"ensemble_{split}_accuracy": ensemble for split in ("weigh", "choose", "test")}
        row |= {f"ensemble_{split}_nll": 3 * (1 - ensemble) for split in ("weigh", "choose", "test")}
    if searched:
        gain = 0.0 if strategy == "uniform" else 0.001
        row |= {
            "evaluations": {"uniform": 1, "random": 1}.get(strategy, 900),
            "search_seconds": 0.12,
            "accuracy_cap": 0.99,
            "crossfit_gain": gain,
            "crossfit_error": 2 * gain,
        }
    return row


def _networks(rng: np.random.Generator, pool: Sequence[str], replicates: int) -> pd.DataFrame:
    rows = []
    for replicate, name in itertools.product(range(replicates), ("teacher", *pool)):
        parameters = _PARAMETERS[name]
        accuracy = min(0.985, 0.8 + 0.03 * np.log10(parameters) + rng.normal(0, 0.004))
        rows.append(
            {
                "name": name,
                "role": "teacher" if name == "teacher" else "assistant",
                "replicate": replicate,
                "taught_by": [] if name == "teacher" else ["teacher"],
                "parameters": parameters,
                "macs": parameters * 120,
                "choose_accuracy": accuracy + 0.002,
                "test_accuracy": accuracy,
                "test_nll": 0.2,
                "train_seconds": 21.0,
                "key": f"{name}{replicate}",
                "trained": True,
                "error": None,
            }
        )
    return pd.DataFrame(rows, columns=NETWORKS_SCHEMA.names)


def _curves(trials: pd.DataFrame, pool: Sequence[str], replicates: int) -> pd.DataFrame:
    """Curves as a study writes them: the uid of a student is that of its trial."""
    sources = [
        ("network", f"network:{replicate}:{name}", name, 0.98 - 0.01 * index, 16)
        for replicate in range(replicates)
        for index, name in enumerate(("teacher", *pool))
    ]
    for row in trials.to_dict("records"):
        label = f"{row['strategy']} {'+'.join(row['assistants'])}".strip()
        label += "" if row["point"] == "{}" else f" {row['point']}"
        uid = f"trial:{label}:{row['replicate']}:{row['seed']}"
        sources.append(("student", uid, label, row["student_choose_accuracy"], 8))
    rows = [
        {
            "uid": uid,
            "kind": kind,
            "label": label,
            "epoch": epoch,
            "loss": 2.0 * np.exp(-epoch / 4),
            "lr": 0.05,
            "choose_accuracy": final * (1 - np.exp(-epoch / (num_epochs / 5))) / (1 - np.exp(-5)),
        }
        for kind, uid, label, final, num_epochs in sources
        for epoch in range(1, num_epochs + 1)
    ]
    return pd.DataFrame(rows, columns=CURVES_SCHEMA.names)


def _contributions(pool: Sequence[str], replicates: int) -> pd.DataFrame:
    rows = [
        {
            "replicate": replicate,
            "name": name,
            "leave_one_out": 0.006 - 0.002 * index + 0.0001 * replicate,
            "shapley": 0.30 - 0.02 * index + 0.001 * replicate,
        }
        for replicate in range(replicates)
        for index, name in enumerate(pool)
    ]
    return pd.DataFrame(rows, columns=CONTRIBUTIONS_SCHEMA.names)


def point(**fields: float) -> SweepPoint:
    """A swept point of the distillation."""
    return SweepPoint.of({f"student.distillation.{name}": value for name, value in fields.items()})
