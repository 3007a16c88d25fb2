"""Learning curves: which epochs belong to which arm, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from wetakd.arms import Arm, Arms, collect
from wetakd.contrasts import best_single
from wetakd.results import Results


def draw_networks(axes: Axes, results: Results, colours: Sequence[str]) -> None:
    """Teacher and assistants, one line each; further replicates thin."""
    curves = results.curves[results.curves["kind"] == "network"].sort_values(["uid", "epoch"])
    names = [name for name in dict.fromkeys(results.networks["name"]) if name in set(curves["label"])]
    for index, name in enumerate(names):
        of_name = curves[curves["label"] == name]
        for replicate, (_, rows) in enumerate(of_name.groupby("uid", sort=True)):
            axes.plot(
                rows["epoch"],
                100 * rows["choose_accuracy"],
                color=colours[index % len(colours)],
                linestyle="-" if index < len(colours) else "--",
                linewidth=0.6 if replicate else 1.6,
                label=None if replicate else str(name),
            )


def draw_students(axes: Axes, results: Results, colour_of: Callable[[str], str]) -> None:
    """The winner, the declared contrast and the controls: mean over seeds with the range between them."""
    arms = collect(results.trials)
    uids = student_uids(results)
    for arm in _chosen(arms, results):
        curves = curves_of(arm, results, uids)
        if not len(curves):
            continue
        epochs = np.arange(1, curves.shape[1] + 1)
        won = results.winner is not None and results.winner.strategy == arm.strategy
        colour = colour_of(arm.strategy)
        label = ("★ " if won and results.winner and results.winner.assistants == arm.assistants else "") + arm.label
        axes.plot(epochs, 100 * curves.mean(axis=0), color=colour, linewidth=1.6, label=label)
        axes.fill_between(epochs, 100 * curves.min(axis=0), 100 * curves.max(axis=0), color=colour, alpha=0.15, lw=0)


def _chosen(arms: Arms, results: Results) -> list[Arm]:
    """At most six arms that a reader asks for, the same students once."""
    winner = results.winner
    won = [a for a in arms.best if winner and (a.strategy, a.assistants) == (winner.strategy, winner.assistants)]
    declared = [arms.find(strategy, results.pool) for strategy in results.primary]
    wanted = [*won, *declared, *best_single(arms, results.pool), arms.find("teacher", ["teacher"]), arms.find("none")]
    chosen: list[Arm] = []
    for arm in wanted:
        if arm is not None and not any(arm.is_same_as(other) or arm == other for other in chosen):
            chosen.append(arm)
    return chosen


def student_uids(results: Results) -> dict[str, str]:
    """The uid of each distinct student's curve, by student key."""
    known = set(results.curves.loc[results.curves["kind"] == "student", "uid"])
    rows = results.trials[["strategy", "assistants", "point", "replicate", "seed", "student_key"]]
    found: dict[str, str] = {}
    for strategy, assistants, point, replicate, seed, key in rows.itertuples(index=False, name=None):
        uid = trial_uid(strategy, assistants, point, replicate, seed)
        if uid in known:
            found.setdefault(key, uid)
    return found


def trial_uid(strategy: str, assistants: Sequence[str], point: str, replicate: int, seed: int) -> str:
    """The uid of a trial, as the plan gives it."""
    label = f"{strategy} {'+'.join(assistants)}".strip()
    return f"trial:{label if point == '{}' else f'{label} {point}'}:{replicate}:{seed}"


def curves_of(arm: Arm, results: Results, uids: dict[str, str]) -> npt.NDArray[np.float64]:
    """Accuracy on `choose` of an arm's students, float64 [students, epochs]; students without a curve are left out."""
    by_uid = results.curves.sort_values("epoch").groupby("uid")["choose_accuracy"]
    found = [by_uid.get_group(uids[key]).to_numpy() for _, _, key in arm.student_keys if key in uids]
    return np.array([curve for curve in found if len(curve) == len(found[0])], dtype=np.float64)
