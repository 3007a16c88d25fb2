"""Intervals over seeds and images against direct formulas, scipy and a bootstrap. Coverage: tests/slow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import special, stats

from wetakd.results.crossed_intervals import (
    Covers,
    CrossedInterval,
    accuracy_interval,
    difference_interval,
    mean_squares,
)

FloatArray = npt.NDArray[np.float64]
Interval = Callable[..., CrossedInterval]
LEVELS = (0.8, 0.95, 0.99)


def layouts(values: list[float], min_rows: int = 1, max_columns: int = 40) -> st.SearchStrategy[FloatArray]:
    shapes = st.tuples(st.integers(min_rows, 5), st.integers(1, max_columns))
    return arrays.arrays(np.float64, shapes, elements=st.sampled_from(values))


CORRECT, DIFFERENCES = layouts([0, 1]), layouts([-1, 0, 1])
REPLICATES = layouts([0, 0.25, 0.5, 1])
ANY = st.tuples(st.just(accuracy_interval), CORRECT | REPLICATES) | st.tuples(
    st.just(difference_interval), DIFFERENCES | layouts([0, 1]) | layouts([0])
)


def students(num_seeds: int, num_images: int, accuracy: float = 0.8, seed: int = 0) -> npt.NDArray[np.bool_]:
    """Latent probit with seed effects, image difficulty and residual."""
    rng = np.random.default_rng(seed)
    latent_SN = 0.1 * rng.standard_normal((num_seeds, 1)) + 0.9 * rng.standard_normal(num_images)
    latent_SN = latent_SN + 0.43 * rng.standard_normal((num_seeds, num_images))
    return np.asarray(latent_SN > -special.ndtri(accuracy))


class TestMeanSquares:
    @settings(deadline=None)
    @given(layouts([-1, 0, 0.5, 1], min_rows=2))
    def test_equal_the_textbook_sums(self, values_SN: FloatArray) -> None:
        S, N = values_SN.shape
        grand = sum(values_SN.flat) / (S * N)
        row_S = [sum(values_SN[s]) / N for s in range(S)]
        column_N = [sum(values_SN[:, n]) / S for n in range(N)]
        seed = N * sum((row - grand) ** 2 for row in row_S) / (S - 1)
        image = S * sum((column - grand) ** 2 for column in column_N)
        residual = sum((values_SN[s, n] - row_S[s] - column_N[n] + grand) ** 2 for s in range(S) for n in range(N))
        found = mean_squares(values_SN)
        assert found.seed == pytest.approx(seed)
        assert found.image == pytest.approx(image / max(N - 1, 1))
        assert found.residual == pytest.approx(residual / max((S - 1) * (N - 1), 1), abs=1e-12)

    def test_recover_the_variances_of_a_normal_model(self) -> None:
        rng, S, N = np.random.default_rng(0), 400, 500
        values_SN = 0.2 * rng.standard_normal((S, 1)) + 0.5 * rng.standard_normal(N) + rng.standard_normal((S, N))
        found = mean_squares(values_SN)
        assert found.residual == pytest.approx(1.0, rel=0.02)
        assert (found.seed - found.residual) / N == pytest.approx(0.04, rel=0.2)
        assert (found.image - found.residual) / S == pytest.approx(0.25, rel=0.2)


class TestBothIntervals:
    @settings(deadline=None)
    @given(ANY, st.sampled_from(LEVELS))
    def test_have_a_width_and_contain_the_estimate(self, case: tuple[Interval, FloatArray], level: float) -> None:
        interval, values_SN = case
        found = interval(values_SN, level=level)
        assert found.estimate == pytest.approx(values_SN.mean())
        assert found.low <= found.estimate <= found.high
        assert found.high - found.low > 1 / (2 * values_SN.size)
        assert found.low >= -1
        assert found.high <= 1
        assert (found.num_seeds, found.num_images, found.num_groups) == (*values_SN.shape, values_SN.shape[1])

    @settings(deadline=None)
    @given(ANY)
    def test_a_higher_level_is_wider(self, case: tuple[Interval, FloatArray]) -> None:
        interval, values_SN = case
        inner, outer = interval(values_SN, level=0.9), interval(values_SN, level=0.975)
        assert outer.low <= inner.low + 1e-12
        assert outer.high >= inner.high - 1e-12

    @settings(deadline=None)
    @given(ANY, st.randoms(use_true_random=False))
    def test_the_order_of_seeds_and_images_does_not_matter(
        self, case: tuple[Interval, FloatArray], random: Any
    ) -> None:
        interval, values_SN = case
        rows, columns = ([*range(n)] for n in values_SN.shape)
        random.shuffle(rows)
        random.shuffle(columns)
        assert_same(interval(values_SN[rows][:, columns]), interval(values_SN))

    @settings(deadline=None)
    @given(ANY)
    def test_exchanging_right_and_wrong_mirrors_the_interval(self, case: tuple[Interval, FloatArray]) -> None:
        interval, values_SN = case
        top = 1.0 if interval is accuracy_interval else 0.0
        found, mirrored = interval(values_SN), interval(top - values_SN)
        assert mirrored.low == pytest.approx(top - found.high, abs=1e-9)
        assert mirrored.high == pytest.approx(top - found.low, abs=1e-9)
        assert mirrored.covers is found.covers

    @settings(deadline=None)
    @given(ANY)
    def test_images_only_where_students_do_not_differ(self, case: tuple[Interval, FloatArray]) -> None:
        interval, values_SN = case
        found = interval(np.repeat(values_SN[:1], 4, axis=0))
        assert found.covers is Covers.IMAGES_ONLY
        assert found.seed_error is None
        assert found.residual_error is None
        assert_same(interval(values_SN[:1]), found)

    @settings(deadline=None)
    @given(ANY)
    def test_groups_of_one_image_change_nothing(self, case: tuple[Interval, FloatArray]) -> None:
        interval, values_SN = case
        assert_same(interval(values_SN, group_N=np.arange(values_SN.shape[1])), interval(values_SN))

    @pytest.mark.parametrize("interval", [accuracy_interval, difference_interval])
    @pytest.mark.parametrize("num_seeds", [1, 4])
    def test_copies_of_an_image_add_nothing_when_they_are_a_group(self, interval: Interval, num_seeds: int) -> None:
        correct_SN = students(num_seeds, 300, 0.7)
        values_SN = correct_SN if interval is accuracy_interval else correct_SN * 1.0 - students(num_seeds, 300, seed=1)
        copied = interval(np.repeat(values_SN, 5, axis=1), group_N=np.repeat(np.arange(300), 5))
        original = interval(values_SN)
        assert (copied.num_images, copied.num_groups) == (1500, 300)
        assert (copied.low, copied.high) == pytest.approx((original.low, original.high), rel=2e-3)

    @pytest.mark.parametrize("interval", [accuracy_interval, difference_interval])
    def test_groups_in_which_students_are_equally_good_leave_a_width(self, interval: Interval) -> None:
        found = interval(np.array([[1, 0, 1, 0], [0, 1, 0, 1]]), group_N=np.array([0, 0, 1, 1]))
        assert found.covers is Covers.IMAGES_ONLY
        assert found.high - found.low > 0.5

    @pytest.mark.parametrize("interval", [accuracy_interval, difference_interval])
    @pytest.mark.parametrize(
        ("values", "options", "message"),
        [
            (np.zeros(5), {}, "seeds as rows"),
            (np.zeros((0, 5)), {}, "seeds as rows"),
            (np.zeros((2, 0)), {}, "seeds as rows"),
            (np.array([[0.0, math.nan]]), {}, "every cell must be a number"),
            (np.array([[0.0, 2.0]]), {}, "every cell must be a number"),
            (np.array([[0.0, -2.0]]), {}, "every cell must be a number"),
            (np.zeros((2, 5)), {"level": 1.0}, "level: must be between 0 and 1"),
            (np.zeros((2, 5)), {"group_N": np.zeros(4)}, "one entry for each of 5 images"),
        ],
    )
    def test_invalid_input(self, interval: Interval, values: FloatArray, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            interval(values, **options)


class TestAccuracy:
    def test_follows_the_formula(self) -> None:
        values_SN = students(4, 500)
        squares, size = mean_squares(values_SN.astype(np.float64)), 4 * 500
        assert squares.seed > squares.residual
        assert squares.image > squares.residual
        seeds, images = (stats.t.ppf(0.975, degrees) ** 2 for degrees in (3, 499))
        half = math.sqrt((seeds * (squares.seed - squares.residual) + images * squares.image) / size)
        found = accuracy_interval(values_SN)
        assert found.covers is Covers.SEEDS_AND_IMAGES
        assert (found.low, found.high) == pytest.approx((values_SN.mean() - half, values_SN.mean() + half))
        assert found.seed_error == pytest.approx(values_SN.mean(axis=1).std(ddof=1) / 2)
        assert found.standard_error**2 == pytest.approx((squares.seed + squares.image - squares.residual) / size)

    @settings(deadline=None)
    @given(layouts([0, 1], min_rows=2))
    def test_the_standard_error_truncates_negative_components(self, values_SN: FloatArray) -> None:
        found, squares = accuracy_interval(values_SN), mean_squares(values_SN)
        if found.covers is Covers.IMAGES_ONLY:
            return
        seed, image = max(squares.seed, squares.residual), max(squares.image, squares.residual)
        assert found.standard_error**2 == pytest.approx((seed + image - squares.residual) / values_SN.size, abs=1e-12)

    def test_is_not_narrower_than_over_seeds_or_over_images(self) -> None:
        for seed in range(20):
            values_SN = students(3, 400, seed=seed)
            found = accuracy_interval(values_SN)
            # The upper end may be cut off at 1.
            half, mean_S = found.estimate - found.low, values_SN.mean(axis=1)
            assert half >= stats.t.ppf(0.975, 2) * mean_S.std(ddof=1) / math.sqrt(3) - 1e-12
            assert half >= 1.96 * values_SN.mean(axis=0).std(ddof=1) / 20

    def test_seeds_that_happen_to_agree_still_leave_the_images(self) -> None:
        """Equal accuracies on different images: the ordinary interval over seeds has width 0."""
        values_SN = np.array([np.roll([1] * 150 + [0] * 50, 10 * s) for s in range(3)])
        found = accuracy_interval(values_SN)
        assert found.seed_error == 0
        assert found.high - found.low > 0.08

    @pytest.mark.parametrize(("num_correct", "size"), [(8, 10), (190, 200), (200, 200), (0, 200), (1, 1)])
    def test_one_student_has_the_score_interval(self, num_correct: int, size: int) -> None:
        found = accuracy_interval(np.arange(size)[None] < num_correct)
        expected = stats.binomtest(num_correct, size).proportion_ci(0.95, method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
        assert found.covers is Covers.IMAGES_ONLY

    def test_groups_widen_the_score_interval_of_one_student(self) -> None:
        """Ten images of each patient, all right or all wrong: worth as much as one image of each."""
        of_patient_G = np.arange(40) < 30
        found = accuracy_interval(np.repeat(of_patient_G, 10)[None], group_N=np.repeat(np.arange(40), 10))
        once = accuracy_interval(of_patient_G[None])
        assert (found.low, found.high) == pytest.approx((once.low, once.high), abs=0.004)

    def test_all_students_right_everywhere(self) -> None:
        found = accuracy_interval(np.ones((5, 300)))
        assert found.high == 1
        assert 2 / 300 < 1 - found.low < 4 / 300  # the rule of three says 3 / 300
        assert found.covers is Covers.IMAGES_ONLY
        patients = accuracy_interval(np.ones((5, 300)), group_N=np.arange(300) // 10)
        assert 2 / 30 < 1 - patients.low < 4 / 30

    @pytest.mark.parametrize(
        ("accuracy", "num_images", "is_logit"),
        [(0.97, 5000, True), (0.94, 5000, False), (0.9, 200, True), (0.1, 200, True), (0.03, 5000, True)],
    )
    def test_the_logit_scale_is_for_few_errors(self, accuracy: float, num_images: int, is_logit: bool) -> None:
        values_SN = students(4, num_images, accuracy)
        found, mean = accuracy_interval(values_SN), values_SN.mean()
        assert (num_images * min(mean, 1 - mean) < 30 or not 0.05 <= mean <= 0.95) == is_logit
        scale = special.logit if is_logit else float
        low, middle, high = (scale(value) for value in (found.low, mean, found.high))
        assert high - middle == pytest.approx(middle - low)

    def test_one_image(self) -> None:
        found = accuracy_interval(np.array([[1], [0], [1], [1]]))
        assert found.covers is Covers.IMAGES_ONLY
        assert found.high - found.low > 0.7

    def test_agrees_with_a_bootstrap(self) -> None:
        """Seeds and images drawn with replacement (Owen 2007); it counts the residual, small here, three times."""
        values_SN, rng = students(30, 400).astype(np.float64), np.random.default_rng(1)
        S, N = values_SN.shape
        seed_BS = rng.multinomial(S, np.full(S, 1 / S), size=4000)
        image_BN = rng.multinomial(N, np.full(N, 1 / N), size=4000)
        mean_B = np.einsum("bs,sn,bn->b", seed_BS, values_SN, image_BN, optimize=True) / (S * N)
        found = accuracy_interval(values_SN)
        assert found.standard_error == pytest.approx(mean_B.std(), rel=0.05)
        low, high = np.quantile(mean_B, [0.025, 0.975])
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


class TestDifference:
    @settings(deadline=None)
    @given(layouts([-1, 0, 1], min_rows=2))
    def test_follows_the_formula(self, values_SN: FloatArray) -> None:
        (S, N), mean, found = values_SN.shape, values_SN.mean(), difference_interval(values_SN)
        if found.covers is Covers.IMAGES_ONLY:
            return
        squares = mean_squares(values_SN)
        seeds, images = (stats.t.ppf(0.975, degrees) ** 2 for degrees in (S - 1, N - 1))
        both = seeds * max(squares.seed - squares.residual, 0) + images * max(squares.image, squares.residual)
        half = math.sqrt(max(both, seeds * squares.seed) / values_SN.size)
        assert (found.low, found.high) == pytest.approx((max(mean - half, -1), min(mean + half, 1)))

    @settings(deadline=None)
    @given(layouts([-1, 0, 1]))
    def test_of_two_students_is_that_of_bonett_and_price(self, values_SN: FloatArray) -> None:
        value_N, found = values_SN[0], difference_interval(values_SN[:1])
        N, won, lost = len(value_N) + 2, (value_N == 1).sum() + 1, (value_N == -1).sum() + 1
        center = (won - lost) / N
        half = stats.t.ppf(0.975, N - 1) * math.sqrt(((won + lost) / N - center**2) / (N - 1))
        assert found.low == pytest.approx(max(min(center - half, value_N.mean()), -1))
        assert found.high == pytest.approx(min(max(center + half, value_N.mean()), 1))

    @pytest.mark.parametrize(("won", "lost"), [(0.0, 0.0), (0.005, 0.0), (0.01, 0.01), (0.02, 0.0), (0.05, 0.02)])
    def test_of_two_students_covers_as_promised(self, won: float, lost: float) -> None:
        """Exact: all numbers of won and lost images among 200, with their probabilities."""
        covered = 0.0
        for num_won in range(int(400 * won) + 8):
            for num_lost in range(int(400 * lost) + 8):
                counts = [num_won, num_lost, 200 - num_won - num_lost]
                found = difference_interval(np.repeat([1.0, -1.0, 0.0], counts)[None])
                if found.low <= won - lost <= found.high:
                    covered += stats.multinomial.pmf(counts, 200, [won, lost, 1 - won - lost])
        assert covered > 0.935

    @pytest.mark.parametrize("num_seeds", [1, 3, 20])
    @pytest.mark.parametrize("num_images", [50, 200, 10_000])
    def test_no_disputed_image_leaves_what_the_images_cannot_show(self, num_seeds: int, num_images: int) -> None:
        found = difference_interval(np.zeros((num_seeds, num_images)))
        assert found.low == -found.high
        assert 2.7 < found.high * num_images < 3.0
        # A larger share of disputed images would rarely leave none: 5 % is the rule of three.
        assert (1 - found.high) ** num_images < 0.07
        assert found.covers is Covers.IMAGES_ONLY

    def test_one_image(self) -> None:
        found = difference_interval(np.array([[1], [1], [0]]))
        assert (found.low, found.high) == (-1, 1)

    def test_of_the_same_images_is_narrower_than_of_two_accuracies(self) -> None:
        first, second = students(5, 1000, 0.8), students(5, 1000, 0.82)
        found = difference_interval(second.astype(float) - first)
        alone = accuracy_interval(first)
        assert found.high - found.low < alone.high - alone.low


def assert_same(found: CrossedInterval, expected: CrossedInterval) -> None:
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.estimate == pytest.approx(expected.estimate)
    assert found.covers is expected.covers
