"""Learning curves: which epochs belong to which arm, and how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wetakd.config import TEACHER, SweepPoint
from wetakd.config.controls import NO_DISTILLATION, TEACHER_ALONE
from wetakd.plan.trials import Arm, Trial
from wetakd.report import plot_style
from wetakd.report.plot_style import colour_of, is_winner
from wetakd.results import columns
from wetakd.results.arms import ArmResult, ArmResults, collect_arms
from wetakd.results.contrasts import best_single
from wetakd.results.stored_results import Results


def figure_curves(results: Results) -> Figure:
    """Accuracy on `choose` by epoch: teacher and assistants on the left, students on the right."""
    figure, left, right = plot_style.pair(4.4, share_y=False)
    _draw_networks(left, results)
    _draw_student_curves(right, results)
    for axes, text in (
        (left, "Teacher and assistants"),
        (right, "Students: means over seeds, the first with its range"),
    ):
        plot_style.note(axes, text)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _show_the_end(axes)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", fontsize=8, framealpha=0.85, edgecolor="none")
    left.set_ylabel("accuracy on choose, %")
    plot_style.headline(figure, "Learning curves")
    return figure


def _show_the_end(axes: Axes) -> None:
    """Leave out the first steep rise, or all curves look the same: the axis starts where they are at a fifth."""
    starts = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()]
    if starts:
        axes.set_ylim(bottom=min(float(curve[len(curve) // 5 :].min()) for curve in starts) - 1.0)


def _draw_networks(axes: Axes, results: Results) -> None:
    """Teacher and assistants, one line each; further replicates thin."""
    curves = results.curves[results.curves[columns.KIND] == "network"].sort_values([columns.UID, columns.EPOCH])
    roles = dict(zip(results.networks[columns.NAME], results.networks[columns.ROLE], strict=True))
    names = sorted(set(curves[columns.LABEL]), key=lambda name: (roles.get(name) != TEACHER, list(roles).index(name)))
    colours = iter(plot_style.NETWORK_COLOURS * len(names))
    for name in names:
        colour = plot_style.BLACK if roles[name] == TEACHER else next(colours)
        for replicate, (_, rows) in enumerate(curves[curves[columns.LABEL] == name].groupby(columns.UID, sort=True)):
            width, label = (0.6, None) if replicate else (1.6, str(name))
            axes.plot(
                rows[columns.EPOCH], 100 * rows[columns.CHOOSE_ACCURACY], color=colour, linewidth=width, label=label
            )


def _draw_student_curves(axes: Axes, results: Results) -> None:
    arms = collect_arms(results.trials)
    uids = student_uids(results)
    for arm in _chosen(arms, results):
        curves_SE = 100 * curves_of(arm, results, uids)
        if not curves_SE.size:
            continue
        epochs = np.arange(1, curves_SE.shape[1] + 1)
        colour = colour_of(arm.strategy)
        label = f"{plot_style.WINNER} " * is_winner(arm, results) + plot_style.cut(arm.label, 30)
        style = "--" if any(line.get_color() == colour for line in axes.get_lines()) else "-"
        axes.plot(epochs, curves_SE.mean(axis=0), color=colour, linewidth=1.6, linestyle=style, label=label)
        if len(axes.get_lines()) == 1:
            low, high = curves_SE.min(axis=0), curves_SE.max(axis=0)
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)


def _chosen(arms: ArmResults, results: Results) -> list[ArmResult]:
    """The winner, the declared contrast and the controls: at most six arms, the same students once."""
    won = [arm for arm in arms.best if is_winner(arm, results)]
    declared = [arms.find(strategy, results.pool) for strategy in results.primary or ()]
    controls = [*best_single(arms, results.pool), *arms.of(TEACHER_ALONE), *arms.of(NO_DISTILLATION)]
    chosen: list[ArmResult] = []
    for arm in [*won, *declared, *controls]:
        if arm is not None and not any(arm is other or arm.is_same_as(other) for other in chosen):
            chosen.append(arm)
    return chosen


def student_uids(results: Results) -> dict[str, str]:
    """The uid of each distinct student's curve, by student key: several trials may share one student."""
    known = set(results.curves.loc[results.curves[columns.KIND] == "student", columns.UID])
    rows = results.trials[
        [columns.STRATEGY, columns.ASSISTANTS, columns.POINT, columns.REPLICATE, columns.SEED, columns.STUDENT_KEY]
    ]
    found: dict[str, str] = {}
    for strategy, assistants, point, replicate, seed, key in rows.itertuples(index=False, name=None):
        uid = Trial(Arm(strategy, tuple(assistants), SweepPoint.from_json(point)), replicate, seed).uid
        if uid in known:
            found.setdefault(key, uid)
    return found


def curves_of(arm: ArmResult, results: Results, uids: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """Accuracy on `choose` of an arm's students, float64 [students, epochs]; students without a curve are left out."""
    wanted = [uids[key] for _, _, key in arm.student_keys if key in uids]
    rows = results.curves[results.curves[columns.UID].isin(wanted)].sort_values([columns.UID, columns.EPOCH])
    found = [
        group.to_numpy(dtype=np.float64) for _, group in rows.groupby(columns.UID, sort=True)[columns.CHOOSE_ACCURACY]
    ]
    return np.array([curve for curve in found if len(curve) == len(found[0])], dtype=np.float64)
