import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.weights.made_scores import make_probabilities, make_scores, naive_count
from wetakd.weights import Problem, solve_problem
from wetakd.weights.exact_accuracy_build import build_accuracy_rows
from wetakd.weights.network_scores import NetworkScores


def rows_of(scores_KNC, labels_N):
    scores = NetworkScores(scores_KNC, labels_N, scores_are="logits", temperature=1.0, mixture="logits")
    return build_accuracy_rows(scores)


@st.composite
def worlds_with_ties(draw):
    """Few distinct integers, so that exact ties are everywhere, and dyadic weights, so that sums are exact."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_networks, num_samples, num_classes = draw(st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(2, 7)))
    levels = draw(st.integers(2, 6))
    scores_KNC = generator.integers(levels, size=(num_networks, num_samples, num_classes)).astype(float)
    labels_N = generator.integers(num_classes, size=num_samples)
    weights_MK = generator.integers(0, 9, size=(30, num_networks)) / 8.0
    weights_MK[weights_MK.sum(axis=1) == 0] = 1.0
    return scores_KNC, labels_N, weights_MK


@settings(max_examples=150, deadline=None)
@given(worlds_with_ties())
def test_count_and_verdicts_equal_tensordot_and_argmax_with_exact_ties(world):
    scores_KNC, labels_N, weights_MK = world
    rows = rows_of(scores_KNC, labels_N)
    naive_M = [len(labels_N) - naive_count(scores_KNC, labels_N, weights_K) for weights_K in weights_MK]
    assert rows.count_wrong(weights_MK).tolist() == naive_M
    assert [int((~rows.right(weights_K)).sum()) for weights_K in weights_MK] == naive_M


@settings(max_examples=50, deadline=None)
@given(worlds_with_ties())
def test_no_weights_exceed_the_cap(world):
    scores_KNC, labels_N, weights_MK = world
    rows = rows_of(scores_KNC, labels_N)
    naive_M = [naive_count(scores_KNC, labels_N, weights_K) for weights_K in weights_MK]
    assert max(naive_M) <= round(rows.accuracy_cap * len(labels_N))


@settings(max_examples=50, deadline=None)
@given(worlds_with_ties(), st.integers(0, 2**32 - 1))
def test_a_subset_counts_as_if_compiled_alone(world, seed):
    scores_KNC, labels_N, weights_MK = world
    index_n = np.random.default_rng(seed).permutation(len(labels_N))[: 1 + len(labels_N) // 2]
    part, alone = (
        rows_of(scores_KNC, labels_N).subset(index_n),
        rows_of(scores_KNC[:, index_n], labels_N[index_n]),
    )
    assert part.count_wrong(weights_MK).tolist() == alone.count_wrong(weights_MK).tolist()
    assert part.right(weights_MK[0]).tolist() == alone.right(weights_MK[0]).tolist()
    assert part.accuracy_cap == alone.accuracy_cap


@pytest.mark.parametrize(("num_networks", "num_classes"), [(5, 10), (16, 10), (5, 100), (64, 4)])
def test_count_equals_the_naive_one_on_real_numbers(num_networks, num_classes):
    scores_KNC, labels_N = make_probabilities(num_networks, 500, num_classes)
    weights_MK = np.random.default_rng(1).uniform(size=(100, num_networks))
    wrong_M = Problem(scores_KNC, labels_N, scores_are="probabilities").accuracy_rows.count_wrong(weights_MK)
    assert (500 - wrong_M).tolist() == [naive_count(scores_KNC, labels_N, w) for w in weights_MK]


def test_scale_of_the_weights_does_not_matter():
    rows = rows_of(*make_scores())
    weights_MK = np.random.default_rng(1).uniform(size=(50, 3))
    for scale in (1e-6, 0.5, 3.0, 1e6):
        assert np.array_equal(rows.count_wrong(weights_MK), rows.count_wrong(scale * weights_MK))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("mixture", ["probabilities", "logits"])
def test_which_rows_survive_the_rank_rules_does_not_depend_on_the_kind_of_score(temperature, mixture):
    scores = NetworkScores(*make_scores(), scores_are="logits", temperature=temperature, mixture=mixture)
    reference = rows_of(*make_scores())
    assert np.array_equal(build_accuracy_rows(scores).always_wrong_N, reference.always_wrong_N)
    assert build_accuracy_rows(scores).num_disputed == reference.num_disputed


def test_two_networks_equal_brute_force_over_all_cells():
    scores_KNC, labels_N = make_probabilities(2, 300, 4)
    rows = Problem(scores_KNC, labels_N, scores_are="probabilities").accuracy_rows
    rows_R2 = rows.rows_RK
    edges = np.unique(np.concatenate([[0, 1], np.clip(rows_R2[:, 1] / (rows_R2[:, 1] - rows_R2[:, 0]), 0, 1)]))
    middles = np.concatenate([edges, (edges[1:] + edges[:-1]) / 2])
    best = max(naive_count(scores_KNC, labels_N, np.array([t, 1 - t])) for t in middles)
    result = solve_problem(Problem(scores_KNC, labels_N, scores_are="probabilities"), "de", crossfit=False)
    assert round(result.accuracy * 300) == best
