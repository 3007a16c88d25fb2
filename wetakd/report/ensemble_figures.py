"""Pictures of the ensembles: how well their quality foretells the student's, and the weights themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from wetakd.common.number_format import count_noun, format_magnitude
from wetakd.report import plot_style
from wetakd.report.plot_style import colour_of
from wetakd.results import columns
from wetakd.results.arms import ArmResult, collect_arms, parameters_by_name
from wetakd.results.display_names import display_name
from wetakd.results.ensemble_student_correlation import arms_with_ensembles, ensemble_student_pairs
from wetakd.results.rank_correlation import rank_correlation
from wetakd.results.stored_results import Results

_MARKERS = "os^DvPX*"
# Bars of a strategy beyond this are shown as their mean.
_MOST_BARS = 8


def figure_ensemble_quality(results: Results) -> Figure:
    """The ensemble's quality on `choose` against the students it taught, each recipe one point."""
    arms = arms_with_ensembles(collect_arms(results.trials))
    figure, left, right = plot_style.pair(4.4, share_y=True)
    _draw_ensemble_quality(left, arms, "accuracy", "ensemble accuracy on choose, %", scale=100)
    _draw_ensemble_quality(right, arms, "log-loss", "ensemble log-loss on choose, nats (falling)", scale=-1)
    right.invert_xaxis()
    left.set_ylabel(plot_style.STUDENT_ACCURACY)
    plot_style.legend_below(figure, _ensemble_quality_legend(arms), columns=5)
    plot_style.headline(figure, "Does a better ensemble teach better? (better ensembles to the right)")
    return figure


def _draw_ensemble_quality(axes: Axes, arms: Sequence[ArmResult], measure: str, label: str, scale: float) -> None:
    known = ensemble_student_pairs(arms, measure)
    for arm, quality, accuracy in known:
        axes.scatter(scale * quality, 100 * accuracy, s=36, color=colour_of(arm.strategy), marker=_marker(arm))
    found = rank_correlation([quality for _, quality, _ in known], [accuracy for _, _, accuracy in known])
    rank = "too few recipes for a rank correlation"
    if found is not None:
        rank = f"rank correlation {found.rho:+.2f} (p {found.p_value:.2g}, {found.num} recipes)"
    plot_style.note(axes, rank)
    axes.set_xlabel(label)


def _marker(arm: ArmResult) -> str:
    return _MARKERS[(len(arm.assistants) - 1) % len(_MARKERS)]


def _ensemble_quality_legend(arms: Sequence[ArmResult]) -> list[Line2D]:
    strategies = {arm.strategy: display_name(arm.strategy) for arm in arms}
    sizes = {len(arm.assistants): _marker(arm) for arm in arms}
    colours = [
        Line2D([], [], color=colour_of(strategy), marker="o", linestyle="", label=label)
        for strategy, label in strategies.items()
    ]
    return colours + [
        Line2D(
            [], [], color="#444444", fillstyle="none", marker=mark, linestyle="", label=count_noun(size, "assistant")
        )
        for size, mark in sorted(sizes.items())
    ]


def figure_weights(results: Results) -> Figure:
    """The weights of every strategy over the full pool, one bar a search."""
    arms = collect_arms(results.trials)
    found = [arms.find(strategy, results.pool) for strategy in arms.strategies]
    bars = [(arm, _bars(arm, results.pool)) for arm in found if arm is not None and arm.students]
    figure, axes = plot_style.canvas(height=1.7 + sum(0.17 * len(rows) + 0.2 for _, rows in bars))
    place = 0.0
    ticks: dict[float, str] = {}
    for arm, rows in bars:
        ticks[place + (len(rows) - 1) / 2] = display_name(arm.strategy)
        for weights_K in rows:
            _draw_bar(axes, place, weights_K)
            place += 1
        place += 0.7
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(place - 1.1, -0.7)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("ensemble weight")
    plot_style.headline(figure, "Ensemble weights by strategy")
    several = any(len(rows) > 1 for _, rows in bars)
    shown = "one bar a seed, or a single one where all agree" if several else "means over seeds"
    plot_style.note(axes, f"Over the full pool; {shown}. In brackets: parameters.")
    plot_style.legend_below(figure, _weights_legend(results), columns=5)
    return figure


def _bars(arm: ArmResult, pool: Sequence[str]) -> list[list[float]]:
    """Weights in the order of the pool: of each seed, of one where all agree, or their mean where they are many."""
    order = [arm.assistants.index(name) for name in pool]
    rows = [[float(row[columns.WEIGHTS][index]) for index in order] for row in arm.students]
    if all(np.allclose(row, rows[0]) for row in rows):
        return rows[:1]
    return rows if len(rows) <= _MOST_BARS else [np.mean(rows, axis=0).tolist()]


def _draw_bar(axes: Axes, place: float, weights_K: Sequence[float]) -> None:
    start = 0.0
    for index, weight in enumerate(weights_K):
        colour, hatch = plot_style.network_style(index)
        axes.barh(place, weight, left=start, height=0.88, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4)
        start += weight


def _weights_legend(results: Results) -> list[Patch]:
    sizes = parameters_by_name(results.networks)
    styles = [plot_style.network_style(index) for index in range(len(results.pool))]
    return [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=f"{name} ({format_magnitude(sizes.get(name))})")
        for name, (colour, hatch) in zip(results.pool, styles, strict=True)
    ]
