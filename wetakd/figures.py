"""The pictures of a study, each a function from results to a matplotlib figure. No global state is touched.

Colours are those of Okabe and Ito, which stay apart for the colour-blind; every strategy has its own in all pictures.
A picture that would show nothing (one assistant has no weights to show) is left out.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from wetakd.arms import CONTROLS, Arm, Arms, collect, shown_name, sizes_of
from wetakd.contrasts import counts
from wetakd.curves import draw_networks, draw_students
from wetakd.findings import proxy_arms
from wetakd.results import Results
from wetakd.statistics import Estimate, rank_correlation
from wetakd.wording import short

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK, GREY = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#8c8c8c",
)  # fmt: skip
_COLOURS = {
    "uniform": BLUE,
    "random": GREY,
    "random_search": SKY,
    "de": RED,
    "greedy": GREEN,
    "convex": PINK,
    "none": BLACK,
    "teacher": ORANGE,
    "single": "#6b4c1e",
    "dgkd": "#b3a300",
}
_ASSISTANTS = (BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, GREY)
_MARKERS = "os^DvPX*"
# More recipes over other subsets than this make no picture; the tables have all.
_MOST_OTHERS = 12
_ACCURACY = "student test accuracy, %"
_DPI = 150
"""Of the PNG files."""


def figure_students(results: Results) -> Figure:
    """Every student's test accuracy by recipe: small dots are seeds, the large one their mean, with its interval."""
    arms = collect(results.trials)
    groups, left_out = _grouped(arms, results.pool)
    num_rows = sum(len(group) for group in groups) + len(groups) - 1
    figure, axes = _canvas(height=1.6 + 0.3 * max(num_rows, 3))
    place = 0.0
    ticks: dict[float, str] = {}
    for group in groups:
        for arm in group:
            _draw_students(axes, arm, place)
            ticks[place] = _marked(arm, results)
            place += 1
        place += 1
    none = arms.find("none")
    baseline = none.mean("student_test_accuracy") if none else None
    if baseline is not None:
        axes.axvline(100 * baseline, color=BLACK, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(place - 1.4, -0.6)
    axes.grid(axis="x", color="#e3e6ea")
    axes.set_xlabel(_ACCURACY + _lines_note(arms))
    dropped = f"; {left_out} recipes over other subsets are left out" if left_out else ""
    _title(axes, "Students by recipe", f"★ winner, chosen on `choose`; dotted: no distillation{dropped}")
    return figure


def _grouped(arms: Arms, pool: Sequence[str]) -> tuple[list[list[Arm]], int]:
    """Arms with finished students, the same students once: over the pool, controls, others; and how many too many."""
    seen = [arm for arm in arms.best if arm.same_as is None and arm.mean("student_test_accuracy") is not None]
    ranked = sorted(seen, key=lambda arm: (-(arm.mean("student_test_accuracy") or 0), arm.order))
    controls = [arm for arm in ranked if arm.strategy in CONTROLS]
    full = [arm for arm in ranked if arm not in controls and set(arm.assistants) == set(pool)]
    others = [arm for arm in ranked if arm not in controls and arm not in full]
    shown = [group for group in (full, controls, others[:_MOST_OTHERS]) if group]
    return shown, len(others[_MOST_OTHERS:])


def _marked(arm: Arm, results: Results) -> str:
    winner = results.winner
    won = winner is not None and (winner.strategy, winner.assistants) == (arm.strategy, arm.assistants)
    return ("★ " if won else "") + _cut(arm.label)


def _cut(label: str, length: int = 34) -> str:
    return label if len(label) <= length else label[: length - 1] + "…"


def _draw_students(axes: Axes, arm: Arm, place: float) -> None:
    values = arm.values("student_test_accuracy")
    colour = colour_of(arm.strategy)
    spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
    axes.scatter(
        [100 * values[pair] for pair in sorted(values)],
        place + spread,
        s=16,
        facecolors="none",
        edgecolors=colour,
        linewidths=1,
        zorder=2,
    )
    _draw_estimate(axes, arm.estimate("student_test_accuracy"), place, colour)


def _draw_estimate(axes: Axes, estimate: Estimate | None, place: float, colour: str) -> None:
    if estimate is None:
        return
    width = 100 * (estimate.half_width or 0.0)
    axes.errorbar(100 * estimate.mean, place, xerr=width or None, fmt="o", color=colour, markersize=6, capsize=3)


def colour_of(strategy: str) -> str:
    """The colour of a strategy or control in every picture."""
    return _COLOURS.get(strategy, YELLOW)


def figure_counts(results: Results) -> Figure:
    """Mean accuracy by number of assistants, over all subsets of a size, one line a strategy."""
    arms = collect(results.trials)
    figure, axes = _canvas(height=4.2)
    shown = arms.strategies
    for index, strategy in enumerate(shown):
        rows = [row for row in counts(arms, strategy, results.pool) if row.accuracy is not None]
        offset = 0.05 * (index - (len(shown) - 1) / 2)
        places = [row.count + offset for row in rows]
        means = [100 * row.accuracy.mean for row in rows if row.accuracy]
        widths = [100 * (row.accuracy.half_width or 0.0) for row in rows if row.accuracy]
        style = {"linewidth": 2.0} if strategy in results.primary else {"linewidth": 1.0, "alpha": 0.8}
        axes.plot(places, means, marker="o", color=colour_of(strategy), label=shown_name(strategy), **style)
        if strategy in results.primary:
            axes.errorbar(places, means, yerr=widths, fmt="none", color=colour_of(strategy), capsize=3, linewidth=1)
    axes.set_xticks(sorted({len(arm.assistants) for arm in arms.best if arm.strategy not in ("none", "dgkd")}))
    axes.set_xlabel("assistants that are mixed")
    axes.set_ylabel(_ACCURACY)
    axes.grid(axis="y", color="#e3e6ea")
    _legend(axes)
    named = " and ".join(shown_name(strategy) for strategy in results.primary if strategy in shown)
    _title(axes, "Accuracy by number of assistants", f"mean over the subsets of a size; 95 % intervals for {named}")
    return figure


def figure_proxy(results: Results) -> Figure:
    """The ensemble's quality on `choose` against the students it taught, each recipe one point."""
    arms = proxy_arms(collect(results.trials))
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, column, label, sign in (
        (left, "ensemble_choose_accuracy", "ensemble accuracy on choose, %", 1),
        (right, "ensemble_choose_nll", "ensemble log-loss on choose, nats", -1),
    ):
        points = [
            (quality, accuracy, arm)
            for arm in arms
            if (quality := arm.mean(column)) is not None and (accuracy := arm.mean("student_test_accuracy")) is not None
        ]
        scale = 100 if sign > 0 else 1
        for quality, accuracy, arm in points:
            marker = _MARKERS[(len(arm.assistants) - 1) % len(_MARKERS)]
            axes.scatter(
                scale * quality, 100 * accuracy, s=34, color=colour_of(arm.strategy), marker=marker, alpha=0.85
            )
        found = rank_correlation([round(sign * q, 12) for q, _, _ in points], [round(a, 12) for _, a, _ in points])
        rank = "too few recipes" if found is None else f"rank correlation {found.rho:+.2f} (p {found.p_value:.2g})"
        axes.set_xlabel(label)
        axes.set_title(rank, fontsize=10)
        axes.grid(color="#e3e6ea")
        _plain(axes)
        if sign < 0:
            axes.invert_xaxis()
    left.set_ylabel(_ACCURACY)
    figure.legend(handles=_proxy_legend(arms), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.suptitle("Does a better ensemble teach better? (better to the right)", fontsize=12, fontweight="bold")
    return figure


def _proxy_legend(arms: Sequence[Arm]) -> list[Line2D]:
    strategies = dict.fromkeys(arm.strategy for arm in arms)
    sizes = sorted({len(arm.assistants) for arm in arms})
    handles = [Line2D([], [], color=colour_of(s), marker="o", linestyle="", label=shown_name(s)) for s in strategies]
    return handles + [
        Line2D(
            [], [], color="#444444", fillstyle="none", marker=_MARKERS[(size - 1) % len(_MARKERS)], linestyle="",
            label=f"{size} assistant{'s' if size > 1 else ''}",
        )
        for size in sizes
    ]  # fmt: skip


def figure_weights(results: Results) -> Figure:
    """The weights of every strategy over the full pool, one bar a search."""
    arms = collect(results.trials)
    full = [arm for s in arms.strategies if (arm := arms.find(s, results.pool)) and not arm.students.empty]
    bars = [bar for arm in full for bar in _weight_bars(arm)]
    figure, axes = _canvas(height=1.8 + 0.2 * len(bars) + 0.16 * len(full))
    sizes = sizes_of(results.networks)
    place, ticks = 0.0, {}
    for arm in full:
        rows = _weight_bars(arm)
        ticks[place + (len(rows) - 1) / 2] = shown_name(arm.strategy)
        for weights_K in rows:
            starts_K = np.concatenate([[0.0], np.cumsum(weights_K)[:-1]])
            for index, (start, weight) in enumerate(zip(starts_K, weights_K, strict=True)):
                axes.barh(
                    place, weight, left=start, height=0.86, color=_ASSISTANTS[index % 8], hatch="//" * (index // 8)
                )
            place += 1
        place += 0.7
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(place - 1.1, -0.7)
    axes.set_xlim(0, 1)
    axes.set_xlabel("ensemble weight")
    names = full[0].assistants if full else ()
    handles = [
        Patch(facecolor=_ASSISTANTS[i % 8], hatch="//" * (i // 8), label=f"{name} ({short(sizes.get(name))})")
        for i, name in enumerate(names)
    ]
    _legend(axes, handles=handles)
    what = "one bar a seed" if len(bars) > len(full) else "mean over seeds"
    _title(axes, "Ensemble weights by strategy", f"over {_cut('+'.join(results.pool), 40)}; {what}")
    return figure


def _weight_bars(arm: Arm, most: int = 8) -> list[list[float]]:
    """Weights of each seed, or their mean where there are too many; one bar where the seeds agree."""
    rows = [list(map(float, weights)) for weights in arm.students["weights"]]
    if all(np.allclose(row, rows[0]) for row in rows):
        return rows[:1]
    return rows if len(rows) <= most else [list(np.mean(rows, axis=0))]


def figure_curves(results: Results) -> Figure:
    """Accuracy on `choose` by epoch: teacher and assistants on the left, students on the right."""
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_networks(left, results, (BLACK, *_ASSISTANTS))
    draw_students(right, results, colour_of)
    for axes, title in ((left, "Teacher and assistants"), (right, "Students (mean over seeds)")):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(color="#e3e6ea")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain(axes)
        axes.legend(loc="lower right", fontsize=8, frameon=False)
    left.set_ylabel("accuracy on choose, %")
    figure.suptitle("Learning curves", fontsize=12, fontweight="bold")
    return figure


def figure_sizes(results: Results) -> Figure:
    """Test accuracy against size: teacher, assistants, the winner and the student without distillation."""
    figure, axes = _canvas(height=4.2)
    table = results.networks.dropna(subset=["parameters", "test_accuracy"])
    for name, rows in table.groupby("name", sort=True):
        teacher = (rows["role"] == "teacher").all()
        mean, size = 100 * rows["test_accuracy"].mean(), float(rows["parameters"].iloc[0])
        colour = ORANGE if teacher else BLUE
        axes.scatter(rows["parameters"], 100 * rows["test_accuracy"], s=16, facecolors="none", edgecolors=colour)
        axes.scatter(size, mean, s=44, color=colour, marker="s" if teacher else "o")
        axes.annotate(str(name), (size, mean), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=9)
    arms = collect(results.trials)
    winner = results.winner and next((arm for arm in arms.best if _marked(arm, results).startswith("★")), None)
    for arm, label, marker in ((winner, "student: ", "*"), (arms.find("none"), "student: ", "o")):
        found = arm.estimate("student_test_accuracy") if arm else None
        if arm is None or found is None:
            continue
        place, mean = results.student_cost.parameters, 100 * found.mean
        width = 100 * (found.half_width or 0.0)
        axes.errorbar(
            place, mean, yerr=width or None, fmt=marker, color=colour_of(arm.strategy), markersize=9, capsize=3
        )
        axes.annotate(
            label + _cut(arm.label, 28),
            (place, mean),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.15)
    axes.set_xlabel("parameters")
    axes.set_ylabel("test accuracy, %")
    axes.grid(color="#e3e6ea")
    _title(axes, "Accuracy by size", "teacher, assistants and student; bars: 95 % intervals over seeds")
    return figure


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.6, min(height, 16.0)), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def _title(axes: Axes, title: str, note: str) -> None:
    axes.figure.suptitle(title, fontsize=12, fontweight="bold")
    axes.set_title(note, fontsize=9, color="#444444")


def _legend(axes: Axes, handles: Sequence[Line2D | Patch] | None = None) -> None:
    figure = axes.figure
    shown = list(handles) if handles is not None else axes.get_legend_handles_labels()[0]
    if shown:
        figure.legend(handles=shown, loc="outside lower center", ncols=min(len(shown), 6), frameon=False, fontsize=9)


def _lines_note(arms: Arms) -> str:
    return " (bars: 95 % intervals over replicates)" if arms.by_replicate else " (bars: 95 % intervals over seeds)"


_FIGURES: dict[str, tuple[str, Callable[[Results], Figure]]] = {
    "students": ("Students by recipe, every seed visible, with 95 % intervals", figure_students),
    "counts": ("Student accuracy by number of assistants", figure_counts),
    "proxy": ("Ensemble quality against student quality", figure_proxy),
    "weights": ("Ensemble weights by strategy", figure_weights),
    "curves": ("Learning curves of networks and students", figure_curves),
    "sizes": ("Accuracy by size of teacher, assistants and student", figure_sizes),
}


def captions(results: Results) -> dict[str, str]:
    """Captions of the figures that have something to show, by name."""
    arms = collect(results.trials)
    full = [arms.find(strategy, results.pool) for strategy in arms.strategies]
    empty = {
        "students": not any(arm.values("student_test_accuracy") for arm in arms.best),
        "counts": len({len(arm.assistants) for arm in arms.best if arm.strategy not in ("none", "dgkd")}) < 2
        or not arms.strategies,
        "proxy": len(proxy_arms(arms)) < 3,
        "weights": len(results.pool) < 2 or not any(arm and not arm.students.empty for arm in full),
        "curves": results.curves.empty,
        "sizes": results.networks["test_accuracy"].isna().all(),
    }
    return {name: caption for name, (caption, _) in _FIGURES.items() if not empty[name]}


def save_all(results: Results) -> dict[str, bytes]:
    """Every figure that has something to show, as PNG and SVG by file name; the same results give the same bytes."""
    files = {}
    for name in captions(results):
        figure = _FIGURES[name][1](results)
        files[f"{name}.png"] = _png(figure)
        files[f"{name}.svg"] = _svg(figure)
    return files


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # Names inside the file come from a salt instead of chance.
    with matplotlib.rc_context({"svg.hashsalt": "wetakd"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
