"""Every figure of a study that has something to show: its caption, and its bytes as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from wetakd.report import plot_style
from wetakd.report.ensemble_figures import figure_ensemble_quality, figure_weights
from wetakd.report.learning_curves import figure_curves
from wetakd.report.student_figures import figure_counts, figure_sizes, figure_students
from wetakd.results import columns
from wetakd.results.arms import collect_arms
from wetakd.results.contrasts import accuracy_by_count
from wetakd.results.ensemble_student_correlation import arms_with_ensembles, ensemble_student_pairs
from wetakd.results.stored_results import Results

_FIGURES: dict[str, tuple[str, Callable[[Results], Figure]]] = {
    "students": ("Students by recipe, every seed visible, with 95 % intervals", figure_students),
    "counts": ("Student accuracy by number of assistants", figure_counts),
    "proxy": ("Ensemble quality against student quality", figure_ensemble_quality),
    "weights": ("Ensemble weights by strategy", figure_weights),
    "curves": ("Learning curves of networks and students", figure_curves),
    "sizes": ("Accuracy by size of teacher, assistants and student", figure_sizes),
}


def captions(results: Results) -> dict[str, str]:
    """Captions of the figures that have something to show, by name."""
    arms = collect_arms(results.trials)
    strategies = [(arm, len(arm.assistants)) for arm in arms.of(*arms.strategies) if arm.students]
    shown = {
        "students": any(arm.values(columns.STUDENT_TEST_ACCURACY) for arm in arms.best),
        "counts": bool(strategies)
        and len({row.count for row in accuracy_by_count(arms, arms.strategies[0], results.pool)}) > 1,
        "proxy": len(ensemble_student_pairs(arms_with_ensembles(arms), "accuracy")) > 2,
        "weights": any(size == len(results.pool) for _, size in strategies),
        "curves": not results.curves.empty,
        "sizes": bool(results.networks[columns.TEST_ACCURACY].notna().any()),
    }
    return {name: caption for name, (caption, _) in _FIGURES.items() if shown[name]}


def figure_bytes(results: Results) -> dict[str, bytes]:
    """Every figure that has something to show, as PNG and SVG by file name; the same results give the same bytes."""
    files = {}
    for name in captions(results):
        figure = _FIGURES[name][1](results)
        files[f"{name}.png"] = plot_style.png(figure)
        files[f"{name}.svg"] = plot_style.svg(figure)
    return files
