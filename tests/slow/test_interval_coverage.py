"""Coverage of 95 % intervals over seeds and images, in 2,000 simulated studies for each setting.

The model is a latent probit. Recipe r, seed s and image n: the student is correct where

    c_r + a_rs + b_n + d_rn + e_rsn > 0,

all normal and independent: a seed effect a, the difficulty b of an image for every recipe, its difficulty d for this
recipe, and a residual e. The variances of b, d and e add up to 1, that of d is 0.1, and `correlation` is the share of b
and d: the latent correlation of two students of one recipe over images. The variance of a makes the accuracies of
students (on infinitely many images) vary by about `seed_sd`. The expected accuracy of a recipe is exactly
Phi(c / sqrt(1 + var a)).

A study has 20 seeds and 10,000 images; smaller ones are its first seeds and images. Every setting has own students, and
the share of studies whose interval contains the expected accuracy (difference) is its coverage.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from tests.documentation_pages import PAGES
from wetakd.results.crossed_intervals import CrossedInterval, accuracy_interval, difference_interval

pytestmark = pytest.mark.timeout(3600)

NUM_STUDIES = int(os.environ.get("WETAKD_COVERAGE_STUDIES", "2000"))
SEEDS, IMAGES, ACCURACIES = (3, 5, 20), (200, 1000, 10_000), (0.60, 0.80, 0.90, 0.98)
LOWEST, HIGHEST = 92.5, 99.0
RECIPE_VARIANCE = 0.1


@dataclass(frozen=True)
class Students:
    """How students vary, and by how much the first recipe is better than the second."""

    seed_sd: float
    """Standard deviation of the students' accuracies, percentage points."""
    correlation: float
    """Latent correlation of two students of one recipe over images."""
    difference: float
    """Percentage points."""


STUDENTS = (Students(0.2, 0.85, 0.0), Students(1.0, 0.85, 1.0), Students(0.5, 0.5, 0.5))


def simulated_study(accuracy: float, students: Students, rng: np.random.Generator) -> list[npt.NDArray[np.bool_]]:
    """Correctness [S, N] of the students of two recipes, with the most seeds and images."""
    S, N, found = max(SEEDS), max(IMAGES), []
    shared_N = rng.standard_normal(N, dtype=np.float32) * np.float32(math.sqrt(students.correlation - RECIPE_VARIANCE))
    for expected in (accuracy, accuracy - students.difference / 100):
        threshold = special.ndtri(expected)
        seed_sd = students.seed_sd / 100 / (math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi))
        seed_S = threshold * math.sqrt(1 + seed_sd**2) + seed_sd * rng.standard_normal(S)
        image_N = shared_N + rng.standard_normal(N, dtype=np.float32) * np.float32(math.sqrt(RECIPE_VARIANCE))
        residual_SN = rng.standard_normal((S, N), dtype=np.float32)
        residual_SN *= np.float32(math.sqrt(1 - students.correlation))
        residual_SN += image_N
        found.append(residual_SN > -seed_S[:, None].astype(np.float32))
    return found


def coverage(accuracy: float, students: Students) -> dict[tuple[str, int, int], float]:
    """Coverage in percent by (quantity, seeds, images)."""
    rng = np.random.Generator(np.random.SFC64([int(1000 * accuracy), STUDENTS.index(students)]))
    num_hits: Counter[tuple[str, int, int]] = Counter()

    def count(quantity: str, interval: CrossedInterval, truth: float) -> None:
        hit = interval.low <= truth <= interval.high
        num_hits[quantity, interval.num_seeds, interval.num_images] += hit

    for _ in range(NUM_STUDIES):
        first_SN, second_SN = simulated_study(accuracy, students, rng)
        difference_SN = np.subtract(first_SN, second_SN, dtype=np.int8)
        for S, N in itertools.product(SEEDS, IMAGES):
            count("accuracy", accuracy_interval(first_SN[:S, :N]), accuracy)
            count("difference", difference_interval(difference_SN[:S, :N]), students.difference / 100)
    keys = itertools.product(("accuracy", "difference"), SEEDS, IMAGES)
    return {key: 100 * num_hits[key] / NUM_STUDIES for key in keys}


def markdown(found: dict[tuple[float, Students], dict[tuple[str, int, int], float]], quantity: str) -> str:
    """Coverage as a Markdown table, one row for each accuracy and kind of students."""
    sizes = list(itertools.product(SEEDS, IMAGES))
    lines = ["| accuracy | seed SD | correlation | difference | " + " | ".join(f"{S} x {N:,}" for S, N in sizes) + " |"]
    lines.append("|---|---|---|---|" + "---|" * len(sizes))
    for (accuracy, students), cells in found.items():
        start = f"| {100 * accuracy:.0f} % | {students.seed_sd} | {students.correlation} | {students.difference} | "
        lines.append(start + " | ".join(f"{cells[quantity, S, N]:.1f}" for S, N in sizes) + " |")
    return "\n".join(lines)


def test_intervals_cover_as_promised() -> None:
    found = {(p, students): coverage(p, students) for students in STUDENTS for p in ACCURACIES}
    tables = {quantity: markdown(found, quantity) for quantity in ("accuracy", "difference")}
    print("\n" + "\n\n".join(f"{quantity}\n\n{table}" for quantity, table in tables.items()))
    outside = {
        (*setting, *key): percent
        for setting, cells in found.items()
        for key, percent in cells.items()
        if not LOWEST <= percent <= HIGHEST
    }
    assert not outside
    if NUM_STUDIES == 2000:
        page = (PAGES / "statistics.md").read_text(encoding="utf-8")
        assert [quantity for quantity, table in tables.items() if table not in page] == []
