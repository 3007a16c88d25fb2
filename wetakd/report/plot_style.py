"""What all pictures share: colours, axes, titles, and how they become files.

Colours are those of Okabe and Ito, which stay apart for the colour-blind; every strategy has its own in all pictures.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wetakd.common.strategy_names import BEST_SINGLE, CONVEX, DE, GREEDY, RANDOM, RANDOM_SEARCH, UNIFORM
from wetakd.config.controls import DGKD, NO_DISTILLATION, SINGLE, TEACHER_ALONE
from wetakd.results.arms import ArmResult
from wetakd.results.statistics import Estimate
from wetakd.results.stored_results import Results

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK, GREY = (
    "#000000",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
    "#8c8c8c",
)
NETWORK_COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, GREY)
_STRATEGY_COLOURS: Mapping[str, str] = {
    UNIFORM: BLUE,
    RANDOM: GREY,
    RANDOM_SEARCH: SKY,
    DE: RED,
    GREEDY: GREEN,
    CONVEX: PINK,
    BEST_SINGLE: "#5e3c99",
    NO_DISTILLATION: BLACK,
    TEACHER_ALONE: ORANGE,
    SINGLE: "#6b4c1e",
    DGKD: "#b3a300",
}
STUDENT_ACCURACY = "student test accuracy, %"
WINNER = "★"
FIGURE_WIDTH = 7.6
_TALLEST = 16.0
_DPI = 150
_NOTE_COLUMNS = 74


def colour_of(strategy: str) -> str:
    """The colour of a strategy or control in every picture."""
    return _STRATEGY_COLOURS.get(strategy, YELLOW)


def network_style(index: int) -> tuple[str, str]:
    """Colour and hatch of the network at a position: after eight, the colours come again, hatched."""
    return NETWORK_COLOURS[index % len(NETWORK_COLOURS)], "//" * (index // len(NETWORK_COLOURS))


def canvas(height: float) -> tuple[Figure, Axes]:
    """A figure with one plain pair of axes, `height` in inches."""
    figure = Figure(figsize=(FIGURE_WIDTH, min(height, _TALLEST)), layout="constrained")
    axes = figure.subplots()
    hide_frame(axes)
    return figure, axes


def pair(height: float, *, share_y: bool) -> tuple[Figure, Axes, Axes]:
    """A figure with two plain pairs of axes side by side."""
    figure = Figure(figsize=(FIGURE_WIDTH, height), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=share_y)
    hide_frame(left)
    hide_frame(right)
    return figure, left, right


def hide_frame(axes: Axes) -> None:
    """Without frame, the grid behind."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(color="#e3e6ea")


def headline(figure: Figure, title: str) -> None:
    """The title, at the left as in a text."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")


def note(axes: Axes, text: str) -> None:
    """What the picture shows, below its title."""
    axes.set_title(textwrap.fill(text, _NOTE_COLUMNS), fontsize=9, color="#444444", loc="left")


def write_heading(axes: Axes, place: float, text: str) -> None:
    """A heading between rows of data, in a row of its own at the left."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(
        0.005, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color="#444444", bbox=box
    )


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 6) -> None:
    """One legend for the whole figure."""
    if handles:
        shown = min(len(handles), columns)
        figure.legend(handles=handles, loc="outside lower center", ncols=shown, frameon=False, fontsize=9)


def cut(label: str, length: int = 34) -> str:
    """A label that leaves room for the picture."""
    return label if len(label) <= length else label[: length - 1] + "…"


def is_winner(arm: ArmResult, results: Results) -> bool:
    """Whether an arm won on `choose`."""
    winner = results.winner
    return winner is not None and (winner.strategy, winner.assistants) == (arm.strategy, arm.assistants)


def percent_width(estimate: Estimate) -> float:
    """Half the 95 % interval in points; 0 where there is none."""
    return 100 * (estimate.half_width or 0.0)


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes every time."""
    buffer = io.BytesIO()
    # Names inside the file come from a salt instead of chance.
    with matplotlib.rc_context({"svg.hashsalt": "wetakd"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
