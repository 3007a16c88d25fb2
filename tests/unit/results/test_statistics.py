"""Statistics against known answers, closed forms and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.unit.simulated_results import replaced, simulated
from wetakd.results.classification_scores import classification_scores
from wetakd.results.rank_correlation import rank_correlation
from wetakd.results.statistics import Estimate, detectable_effect, estimate, holm, paired_difference, seeds_needed
from wetakd.results.winner import Winner, choose_winner

SHARES = st.floats(0, 1, allow_nan=False)
PAIRS = st.tuples(st.integers(0, 3), st.integers(0, 5))


class TestEstimate:
    def test_agrees_with_scipy_on_one_sample(self) -> None:
        values = {(0, 0): 0.91, (0, 1): 0.93, (0, 2): 0.90, (0, 3): 0.95}
        found = estimate(values, by_replicate=False)
        expected = stats.ttest_1samp(list(values.values()), 0.0)
        assert found is not None
        assert found.num == 4
        assert found.unit == "seed"
        assert found.p_value == pytest.approx(expected.pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))

    def test_one_unit_has_no_interval(self) -> None:
        assert estimate({(0, 0): 0.9}, by_replicate=False) == Estimate(0.9, None, 1, "seed")
        assert estimate({(0, 0): 0.9}, by_replicate=False).half_width is None  # type: ignore[union-attr]

    def test_of_nothing_is_none(self) -> None:
        assert estimate({}, by_replicate=False) is None

    def test_replicates_are_the_units(self) -> None:
        """Seeds within a replicate share its networks: more of them must not narrow the interval by themselves."""
        means = [0.90, 0.92, 0.95]
        few = estimate({(r, 0): mean for r, mean in enumerate(means)}, by_replicate=True)
        many = estimate({(r, s): mean for r, mean in enumerate(means) for s in range(50)}, by_replicate=True)
        assert few is not None
        assert many is not None
        assert (few.num, many.num) == (3, 3)
        assert many.half_width == pytest.approx(few.half_width)

    def test_units_without_spread_have_no_interval(self) -> None:
        """Three equal differences are chance of few images, not certainty."""
        found = estimate({(0, s): 0.9 - 0.7 - 0.1 for s in range(3)}, by_replicate=False)
        assert found is not None
        assert found.half_width is None
        assert found.p_value is None
        assert found.num_needed is None

    @given(st.dictionaries(PAIRS, SHARES, min_size=1), st.booleans(), st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_order(self, values, by_replicate, random) -> None:  # type: ignore[no-untyped-def]
        pairs = list(values)
        random.shuffle(pairs)
        shuffled = {pair: values[pair] for pair in pairs}
        assert estimate(shuffled, by_replicate=by_replicate) == estimate(values, by_replicate=by_replicate)

    def test_intervals_cover_as_often_as_they_say(self) -> None:
        rng = np.random.default_rng(7)
        covered = 0
        for _ in range(1000):
            draws = rng.normal(0.3, 1.0, size=5)
            found = estimate({(0, s): float(v) for s, v in enumerate(draws)}, by_replicate=False)
            assert found is not None
            assert found.low is not None
            assert found.high is not None
            covered += found.low <= 0.3 <= found.high
        # Four standard deviations of a binomial of 1000 at 0.95.
        assert abs(covered - 950) <= 28


class TestPairedDifference:
    def test_pairs_by_seed_not_by_row(self) -> None:
        first = {(0, 0): 0.9, (0, 1): 0.8, (0, 2): 0.7}
        second = {(0, 2): 0.69, (0, 0): 0.89, (0, 1): 0.785}
        found = paired_difference(first, second, by_replicate=False)
        assert found is not None
        assert found.mean == pytest.approx((0.01 + 0.015 + 0.01) / 3)
        assert found.sd == pytest.approx(np.std([0.01, 0.015, 0.01], ddof=1))

    def test_uses_shared_pairs_only(self) -> None:
        found = paired_difference({(0, 0): 0.9, (0, 1): 0.8}, {(0, 1): 0.7, (0, 2): 0.1}, by_replicate=False)
        assert found is not None
        assert found.num == 1
        assert found.mean == pytest.approx(0.1)

    def test_without_shared_pairs_is_none(self) -> None:
        assert paired_difference({(0, 0): 0.9}, {(1, 0): 0.9}, by_replicate=True) is None

    @given(st.dictionaries(PAIRS, SHARES), st.dictionaries(PAIRS, SHARES), st.booleans())
    def test_is_antisymmetric(self, first, second, by_replicate) -> None:  # type: ignore[no-untyped-def]
        forward = paired_difference(first, second, by_replicate=by_replicate)
        backward = paired_difference(second, first, by_replicate=by_replicate)
        if forward is None or backward is None:
            assert forward is backward
        else:
            assert forward.mean == -backward.mean
            assert forward.num == backward.num


class TestHolm:
    def test_known_answer(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_of_nothing(self) -> None:
        assert holm([]) == []

    @given(st.lists(SHARES, min_size=1, max_size=12))
    def test_is_monotone_and_never_below_the_raw_p(self, p_values: list[float]) -> None:
        corrected = holm(p_values)
        assert all(raw <= new <= 1 for raw, new in zip(p_values, corrected, strict=True))
        for (raw, new), (other, others) in itertools.combinations(zip(p_values, corrected, strict=True), 2):
            assert raw == other or (raw < other) == (new <= others) or new == others

    @given(st.lists(SHARES, min_size=1, max_size=8), st.randoms(use_true_random=False))
    def test_does_not_depend_on_the_order(self, p_values, random) -> None:  # type: ignore[no-untyped-def]
        order = list(range(len(p_values)))
        random.shuffle(order)
        shuffled = holm([p_values[index] for index in order])
        assert [shuffled[order.index(i)] for i in range(len(order))] == pytest.approx(holm(p_values))


class TestPower:
    def test_textbook_sample_size(self) -> None:
        """Half a standard deviation needs 34 pairs (Cohen 1988; G*Power gives the same)."""
        assert seeds_needed(0.5, 1.0) == 34

    def test_reaches_the_power_in_simulation(self) -> None:
        num = seeds_needed(1.0, 1.0)
        assert num is not None
        draws = np.random.default_rng(3).normal(1.0, 1.0, size=(4000, num))
        found = (stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05).mean()
        assert 0.78 < found < 0.9

    def test_hopeless_differences(self) -> None:
        assert seeds_needed(1e-9, 1.0) is None
        assert seeds_needed(0.0, 1.0) is None

    def test_huge_differences_need_two(self) -> None:
        assert seeds_needed(1e6, 1.0) == 2

    @given(st.floats(0.05, 20), st.floats(1.01, 3))
    @settings(max_examples=25, deadline=None)
    def test_larger_differences_need_no_more(self, effect: float, factor: float) -> None:
        smaller, larger = seeds_needed(effect, 1.0), seeds_needed(effect * factor, 1.0)
        assert smaller is not None
        assert larger is not None
        assert larger <= smaller

    @pytest.mark.parametrize("num", [2, 3, 5, 30])
    def test_what_is_detectable_is_what_is_needed(self, num: int) -> None:
        effect = detectable_effect(num)
        assert seeds_needed(effect * 1.001, 1.0) == num
        more = seeds_needed(effect * 0.99, 1.0)
        assert more is not None
        assert more >= num

    def test_three_seeds_find_little(self) -> None:
        assert detectable_effect(3) == pytest.approx(3.26, abs=0.02)


class TestRankCorrelation:
    def test_agrees_with_scipy(self) -> None:
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=20), rng.normal(size=20).round(1)
        found = rank_correlation(x.tolist(), y.tolist())
        assert found is not None
        assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found.p_value == pytest.approx(stats.spearmanr(x, y).pvalue, abs=0.02)

    def test_p_of_few_points_is_exact(self) -> None:
        """Of the 24 orders of four points only two are as extreme as a perfect one."""
        found = rank_correlation([1, 2, 3, 4], [10, 20, 30, 40])
        assert found is not None
        assert found.rho == pytest.approx(1)
        assert found.p_value == pytest.approx(2 / 24)
        assert found.low is None

    def test_says_nothing_without_variation(self) -> None:
        assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None
        assert rank_correlation([1, 2], [1, 2]) is None

    @given(st.lists(st.tuples(SHARES, SHARES), min_size=3, max_size=10), st.randoms(use_true_random=False))
    @settings(max_examples=20, deadline=None)
    def test_does_not_depend_on_the_order(self, points, random) -> None:  # type: ignore[no-untyped-def]
        shuffled = list(points)
        random.shuffle(shuffled)
        first = rank_correlation([x for x, _ in points], [y for _, y in points])
        second = rank_correlation([x for x, _ in shuffled], [y for _, y in shuffled])
        assert (first and first.p_value) == (second and second.p_value)
        assert (first and first.rho) == pytest.approx(second and second.rho)


class TestScores:
    def test_by_hand(self) -> None:
        logits = np.log(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]]))
        scores = classification_scores(logits, np.array([0, 0, 0, 1]))
        assert scores.accuracy == 0.75
        assert scores.macro_accuracy == pytest.approx((2 / 3 + 1) / 2)
        assert scores.nll == pytest.approx(-np.log([0.9, 0.6, 0.2, 0.7]).mean())
        # Every sample has a bin of its own: |1-0.9| + |1-0.6| + |0-0.8| + |1-0.7|, over 4.
        assert scores.calibration_error == pytest.approx((0.1 + 0.4 + 0.8 + 0.3) / 4)

    def test_a_sure_and_right_classifier_is_calibrated(self) -> None:
        scores = classification_scores(np.eye(3, dtype=np.float32) * 100, np.arange(3))
        assert scores.accuracy == scores.macro_accuracy == 1
        assert scores.calibration_error == pytest.approx(0)

    def test_errors_in_a_bin_cancel(self) -> None:
        """Ten samples at 0.8 of which eight are right are perfectly calibrated."""
        logits = np.log(np.tile([0.8, 0.2], (10, 1)))
        labels = np.array([0] * 8 + [1] * 2)
        assert classification_scores(logits, labels).calibration_error == pytest.approx(0, abs=1e-12)

    def test_an_absent_class_does_not_count(self) -> None:
        scores = classification_scores(np.array([[1.0, 0, 0], [1.0, 0, 0]]), np.array([0, 0]))
        assert scores.macro_accuracy == 1

    def test_overflow_and_no_samples(self) -> None:
        assert math.isfinite(classification_scores(np.array([[1e4, -1e4]]), np.array([1])).nll)
        with pytest.raises(ValueError, match="at least one"):
            classification_scores(np.zeros((0, 3)), np.zeros(0, dtype=int))

    @given(st.integers(0, 10_000))
    @settings(max_examples=20, deadline=None)
    def test_do_not_depend_on_the_order(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        logits, labels = rng.normal(size=(40, 4)), rng.integers(0, 4, size=40)
        order = rng.permutation(40)
        one, two = classification_scores(logits, labels), classification_scores(logits[order], labels[order])
        assert one.accuracy == two.accuracy
        assert one.calibration_error == pytest.approx(two.calibration_error)
        assert one.macro_accuracy == pytest.approx(two.macro_accuracy)


class TestWinner:
    def test_is_the_best_on_choose(self) -> None:
        winner = choose_winner(simulated(effects={"de": 0.05}, num_seeds=3).trials)
        assert winner is not None
        assert winner.strategy == "de"
        assert winner.weights is not None
        assert len(winner.weights) == len(winner.assistants)

    @given(st.integers(0, 1000))
    @settings(max_examples=10, deadline=None)
    def test_never_looks_at_test(self, seed: int) -> None:
        results = simulated(num_seeds=2)
        trials = results.trials.copy()
        rng = np.random.default_rng(seed)
        for column in [name for name in trials.columns if "test" in name]:
            trials[column] = rng.permutation(trials[column].to_numpy())
        assert choose_winner(trials) == results.winner
        assert choose_winner(trials.drop(columns=[name for name in trials.columns if "test" in name])) == results.winner

    def test_does_not_depend_on_row_order(self) -> None:
        results = simulated()
        assert choose_winner(results.trials.sample(frac=1, random_state=5)) == results.winner

    def test_ties_go_to_fewest_assistants_then_to_the_simplest_strategy(self) -> None:
        trials = simulated().trials.copy()
        trials["student_choose_accuracy"] = 0.5
        winner = choose_winner(trials)
        assert winner is not None
        assert winner.strategy == "none"
        mixed = choose_winner(trials[trials["num_assistants"] == 3])
        assert mixed is not None
        assert (mixed.strategy, mixed.seed) == ("uniform", 0)

    def test_a_tie_in_right_answers_is_a_tie(self) -> None:
        """0.1 + 0.2 is not 0.3 in floating point: how seeds share the right answers must not decide."""
        trials = simulated(num_seeds=2, controls=()).trials
        trials = trials[(trials["num_assistants"] == 3) & trials["strategy"].isin(["uniform", "de"])].copy()
        trials.loc[trials["strategy"] == "de", "student_choose_accuracy"] = [0.1, 0.2]
        trials.loc[trials["strategy"] == "uniform", "student_choose_accuracy"] = [0.3, 0.0]
        winner = choose_winner(trials)
        assert winner is not None
        assert winner.strategy == "uniform"

    def test_a_recipe_that_failed_at_some_seeds_cannot_win_by_the_rest(self) -> None:
        results = simulated(effects={"de": 0.5})
        trials = results.trials.copy()
        failed = (trials["strategy"] == "de") & (trials["seed"] > 0)
        trials["error"] = trials["error"].astype(object)
        trials.loc[failed, "error"] = "loss is NaN"
        winner = choose_winner(trials)
        assert winner is not None
        assert winner.strategy != "de"

    def test_stopped_students_do_not_count(self) -> None:
        results = simulated(effects={"de": 0.5})
        trials = results.trials.copy()
        trials["stopped_at_epoch"] = np.where(trials["strategy"] == "de", 3.0, np.nan)
        winner = replaced(results, trials).winner
        assert winner is not None
        assert winner.strategy != "de"

    def test_nobody_wins_where_all_failed(self) -> None:
        trials = simulated().trials.assign(error="boom")
        assert choose_winner(trials) is None

    def test_survives_json(self) -> None:
        winner = simulated().winner
        assert winner is not None
        assert Winner.from_dict(winner.to_dict()) == winner
