"""Figures of the students: accuracy by recipe, by number of assistants, and by size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wetakd.config import TEACHER
from wetakd.config.controls import CONTROLS, NO_DISTILLATION
from wetakd.report import plot_style
from wetakd.report.plot_style import colour_of, is_winner, percent_width
from wetakd.results import columns
from wetakd.results.arms import ArmResult, ArmResults, collect_arms
from wetakd.results.contrasts import CountRow, accuracy_by_count
from wetakd.results.display_names import display_name
from wetakd.results.stored_results import Results

# More recipes over other subsets than this make no picture; the tables have all.
_MOST_OTHERS = 12
_FULL = "over the full pool,"


def figure_students(results: Results) -> Figure:
    """Every student's test accuracy by recipe: small rings are seeds, the large dot their mean, with its interval."""
    arms = collect_arms(results.trials)
    groups, num_left_out = _grouped(arms, results)
    figure, axes = plot_style.canvas(height=1.5 + 0.27 * sum(len(group) + 1 for _, group in groups))
    heading = 0
    ticks: dict[int, str] = {}
    for title, group in groups:
        plot_style.write_heading(axes, heading, title)
        for place, arm in enumerate(group, start=heading + 1):
            _draw_arm_students(axes, arm, place)
            label = (
                display_name(arm.strategy) if arm.strategy not in CONTROLS and title.startswith(_FULL) else arm.label
            )
            ticks[place] = f"{plot_style.WINNER} " * is_winner(arm, results) + plot_style.cut(label)
        heading += len(group) + 1
    _draw_baseline(axes, arms)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(heading - 0.4, -0.7)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(plot_style.STUDENT_ACCURACY)
    plot_style.headline(figure, "Students by recipe")
    left_out = f" {num_left_out} more recipes over other subsets are left out." if num_left_out else ""
    unit = "replicates" if arms.by_replicate else "seeds"
    text = f"Rings: single students. Dots and bars: mean and 95 % interval over {unit}. ★: the winner on choose."
    plot_style.note(axes, text + left_out)
    return figure


def _grouped(arms: ArmResults, results: Results) -> tuple[list[tuple[str, list[ArmResult]]], int]:
    """Titles and arms with finished students, the same students once; and how many arms are too many to show."""
    seen = [arm for arm in arms.best if arm.same_as is None and arm.mean(columns.STUDENT_TEST_ACCURACY) is not None]
    ranked = sorted(seen, key=lambda arm: (-(arm.mean(columns.STUDENT_TEST_ACCURACY) or 0), arm.order))
    controls = [arm for arm in ranked if arm.strategy in CONTROLS]
    full = [arm for arm in ranked if arm not in controls and set(arm.assistants) == set(results.pool)]
    others = [arm for arm in ranked if arm not in controls and arm not in full]
    shown = [arm for rank, arm in enumerate(others) if rank < _MOST_OTHERS or is_winner(arm, results)]
    titled = [
        (f"{_FULL} {plot_style.cut('+'.join(results.pool), 60)}", full),
        ("controls", controls),
        ("over other subsets", shown),
    ]
    return [(title, group) for title, group in titled if group], len(others) - len(shown)


def _draw_arm_students(axes: Axes, arm: ArmResult, place: float) -> None:
    values = arm.values(columns.STUDENT_TEST_ACCURACY)
    colour = colour_of(arm.strategy)
    shares = [100 * values[pair] for pair in sorted(values)]
    spread = np.linspace(-0.25, 0.25, len(shares)) if len(shares) > 1 else np.zeros(1)
    axes.scatter(shares, place + spread, s=16, facecolors="none", edgecolors=colour, linewidths=1, zorder=3)
    found = arm.estimate(columns.STUDENT_TEST_ACCURACY)
    if found is not None:
        width = percent_width(found) or None
        axes.errorbar(
            100 * found.mean, place, xerr=width, fmt="o", color=colour, markersize=6, capsize=3, linewidth=1.4
        )


def _draw_baseline(axes: Axes, arms: ArmResults) -> None:
    """A dotted line at the student without distillation."""
    none = arms.find(NO_DISTILLATION)
    mean = none.mean(columns.STUDENT_TEST_ACCURACY) if none else None
    if mean is not None:
        axes.axvline(100 * mean, color=plot_style.BLACK, linewidth=0.9, linestyle=":", zorder=0)


def figure_counts(results: Results) -> Figure:
    """Mean accuracy by number of assistants, over all subsets of a size, one line a strategy."""
    arms = collect_arms(results.trials)
    figure, axes = plot_style.canvas(height=4.3)
    strategies, declared = arms.strategies, results.primary or ()
    numbers: set[int] = set()
    for index, strategy in enumerate(strategies):
        rows = [row for row in accuracy_by_count(arms, strategy, results.pool) if row.accuracy is not None]
        numbers |= {row.count for row in rows}
        offset = 0.05 * (index - (len(strategies) - 1) / 2)
        _draw_counts(axes, strategy, rows, offset, declared=strategy in declared)
    axes.set_xticks(sorted(numbers))
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("assistants that are mixed")
    axes.set_ylabel(plot_style.STUDENT_ACCURACY)
    plot_style.headline(figure, "Accuracy by number of assistants")
    named = " and ".join(display_name(strategy) for strategy in declared if strategy in strategies)
    luck = f" Bars: 95 % intervals of {named}; they hold the luck that seeds share, the table's paired gains do not."
    plot_style.note(axes, "Means over all subsets of a size." + (luck if axes.containers else ""))
    plot_style.legend_below(figure, axes.get_legend_handles_labels()[0])
    return figure


def _draw_counts(axes: Axes, strategy: str, rows: Sequence[CountRow], offset: float, *, declared: bool) -> None:
    # A single assistant is the same student under every strategy: the lines start at one point.
    places = [row.count + (offset if row.count > 1 else 0.0) for row in rows]
    found = [row.accuracy for row in rows if row.accuracy]
    means = [100 * estimate.mean for estimate in found]
    colour, width = colour_of(strategy), 2.2 if declared else 1.0
    axes.plot(
        places, means, marker="o", color=colour, linewidth=width, label=display_name(strategy), zorder=2 + declared
    )
    widths = [percent_width(estimate) for estimate in found]
    if declared and any(widths):
        axes.errorbar(places, means, yerr=widths, fmt="none", color=colour, capsize=3, linewidth=1)


def figure_sizes(results: Results) -> Figure:
    """Test accuracy against size: teacher, assistants, the winner and the student without distillation."""
    figure, axes = plot_style.canvas(height=4.3)
    _draw_network_sizes(axes, results)
    arms = collect_arms(results.trials)
    winner = next((arm for arm in arms.best if is_winner(arm, results)), None)
    for arm, marker in ((winner, "*"), (arms.find(NO_DISTILLATION), "o")):
        found = arm.estimate(columns.STUDENT_TEST_ACCURACY) if arm else None
        if arm is None or found is None or (marker == "o" and arm == winner):
            continue
        at = (results.student_cost.parameters, 100 * found.mean)
        colour, width = colour_of(arm.strategy), percent_width(found) or None
        label = f"student: {plot_style.cut(arm.label)}"
        axes.errorbar(*at, yerr=width, fmt=marker, color=colour, markersize=9, capsize=3, label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=9, framealpha=0.85, edgecolor="none")
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.15)
    axes.set_xlabel("parameters")
    axes.set_ylabel("test accuracy, %")
    plot_style.headline(figure, "Accuracy by size")
    unit = "replicates" if arms.by_replicate else "seeds"
    plot_style.note(axes, f"Teacher (square), assistants (dots), student (★ winner); bars: 95 % intervals over {unit}.")
    return figure


def _draw_network_sizes(axes: Axes, results: Results) -> None:
    table = results.networks.dropna(subset=[columns.PARAMETERS, columns.TEST_ACCURACY])
    for name, rows in table.groupby(columns.NAME, sort=True):
        teacher = (rows[columns.ROLE] == TEACHER).all()
        colour, marker = (plot_style.ORANGE, "s") if teacher else (plot_style.BLUE, "o")
        at = (float(rows[columns.PARAMETERS].iloc[0]), 100 * float(rows[columns.TEST_ACCURACY].mean()))
        if len(rows) > 1:
            axes.scatter(
                rows[columns.PARAMETERS], 100 * rows[columns.TEST_ACCURACY], s=16, facecolors="none", edgecolors=colour
            )
        axes.scatter(*at, s=44, color=colour, marker=marker)
        axes.annotate(str(name), at, xytext=(0, 8), textcoords="offset points", ha="center", fontsize=9)
