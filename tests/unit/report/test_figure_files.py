"""The pictures: what they hold, that none is empty, and that they come out the same."""

from __future__ import annotations

import sys
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.unit.simulated_results import replaced, simulated
from wetakd.report import ensemble_figures, figure_files, plot_style, student_figures
from wetakd.report.learning_curves import curves_of, figure_curves, student_uids
from wetakd.results.arms import collect_arms


def texts(figure: Figure) -> str:
    found = [text.get_text() for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels(), axes.title]]
    lefts = [axes.get_title(loc="left") for axes in figure.axes]
    return "\n".join([*found, *lefts])


def test_every_seed_is_drawn() -> None:
    results = simulated(num_seeds=4, subsets=[("ta8", "ta6", "ta4")])
    axes = student_figures.figure_students(results).axes[0]
    rings = sum(len(np.asarray(collection.get_offsets())) for collection in axes.collections if _is_rings(collection))
    assert rings == 4 * len(collect_arms(results.trials).best)


def _is_rings(collection: object) -> bool:
    return type(collection).__name__ == "PathCollection"


def test_many_arms_keep_the_picture_readable() -> None:
    results = simulated(pool=("ta8", "ta6", "ta5", "ta4"), num_seeds=1)
    figure = student_figures.figure_students(results)
    assert figure.get_size_inches()[1] <= 16
    assert "48 more recipes over other subsets are left out" in texts(figure).replace("\n", " ")


def test_values_are_percent() -> None:
    axes = student_figures.figure_students(simulated()).axes[0]
    low, high = axes.get_xlim()
    assert 50 < low < high < 110
    assert axes.get_xlabel().endswith("%")


def test_counts_start_from_one_point() -> None:
    axes = student_figures.figure_counts(simulated()).axes[0]
    named = axes.get_legend_handles_labels()[1]
    lines = [line for line in axes.get_lines() if line.get_label() in named]
    starts = {(np.asarray(line.get_xdata())[0], round(np.asarray(line.get_ydata())[0], 9)) for line in lines}
    assert len(lines) == 6
    assert len(starts) == 1


def test_better_ensembles_stand_to_the_right_in_both_panels() -> None:
    left, right = ensemble_figures.figure_ensemble_quality(simulated()).axes
    assert not left.xaxis_inverted()
    assert right.xaxis_inverted()
    assert "rank correlation" in left.get_title(loc="left")


def test_weights_of_a_bar_sum_to_one() -> None:
    axes = ensemble_figures.figure_weights(simulated(num_seeds=3)).axes[0]
    bars: dict[float, float] = {}
    for patch in axes.patches:
        place = round(patch.get_y(), 6)  # type: ignore[attr-defined]
        bars[place] = bars.get(place, 0.0) + patch.get_width()  # type: ignore[attr-defined]
    # Uniform is one bar, the five others have one a seed.
    assert len(bars) == 1 + 5 * 3
    assert all(total == pytest.approx(1) for total in bars.values())


def test_curves_show_networks_and_students() -> None:
    left, right = figure_curves(simulated()).axes
    assert [line.get_label() for line in left.get_lines()] == ["teacher", "ta8", "ta6", "ta4"]
    labels = {str(line.get_label()).removeprefix("★ ") for line in right.get_lines()}
    assert {"DE ta8+ta6+ta4", "uniform ta8+ta6+ta4", "teacher alone", "no distillation"} <= labels


def test_a_shared_student_has_its_curve_in_every_arm() -> None:
    """Only the first trial of a student that several trials share has a curve."""
    results = simulated()
    trials = results.trials.copy()
    keys = trials.set_index(["strategy", "num_assistants", "seed"])["student_key"]
    for seed in range(3):
        shared = (trials["strategy"] == "convex") & (trials["num_assistants"] == 3) & (trials["seed"] == seed)
        trials.loc[shared, "student_key"] = keys["de", 3, seed]
    curves = results.curves[~results.curves["uid"].str.startswith("trial:convex ta8+ta6+ta4:")]
    results = replaced(type(results)(**{**results.__dict__, "curves": curves}), trials)
    arm = collect_arms(trials).find("convex", results.pool)
    assert arm is not None
    assert curves_of(arm, results, student_uids(results)).shape == (3, 8)


def test_sizes_name_every_network() -> None:
    figure = student_figures.figure_sizes(simulated(replicates=2))
    for name in ("teacher", "ta8", "ta6", "ta4"):
        assert name in texts(figure)
    assert "student: no distillation" in figure.axes[0].get_legend_handles_labels()[1]


def test_a_picture_without_content_is_left_out() -> None:
    one = figure_files.captions(simulated(pool=("ta6",)))
    assert set(one) == {"students", "curves", "sizes"}
    failed = simulated()
    assert "students" not in figure_files.captions(replaced(failed, failed.trials.assign(error="boom")))
    assert set(figure_files.captions(simulated())) == {"students", "counts", "proxy", "weights", "curves", "sizes"}


def test_files_are_pictures_and_the_same_each_time() -> None:
    results = simulated(pool=("ta8", "ta6"), num_seeds=2)
    with warnings.catch_warnings():
        # A glyph that the font lacks, or a layout that does not fit, is a warning.
        warnings.simplefilter("error")
        files = figure_files.figure_bytes(results)
    assert len(files) == 12
    for name, data in files.items():
        assert data.startswith(b"\x89PNG") if name.endswith(".png") else b"<svg" in data
    again = student_figures.figure_sizes(results)
    assert plot_style.png(again) == files["sizes.png"]
    assert plot_style.svg(again) == files["sizes.svg"]


def test_no_global_state_is_touched() -> None:
    before = dict(mpl.rcParams)
    plot_style.svg(student_figures.figure_sizes(simulated(pool=("ta6",), num_seeds=1)))
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
