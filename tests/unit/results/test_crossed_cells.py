"""Crossed layouts: which rows there are, and what a cell is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wetakd.results.crossed_cells import accuracy_cells, difference_cells, grouped_cells


def bits(text: str) -> npt.NDArray[np.bool_]:
    return np.array([letter == "1" for letter in text])


def test_a_row_is_a_seed_in_the_order_of_the_pairs() -> None:
    found = accuracy_cells({(0, 2): bits("001"), (0, 0): bits("110")}, by_replicate=False)
    assert found is not None
    assert found.dtype == np.float64
    assert found.tolist() == [[1, 1, 0], [0, 0, 1]]


def test_a_row_is_a_replicate_and_a_cell_the_mean_over_its_seeds() -> None:
    correct = {(0, 0): bits("110"), (0, 1): bits("010"), (1, 0): bits("001")}
    found = accuracy_cells(correct, by_replicate=True)
    assert found is not None
    assert found.tolist() == [[0.5, 1, 0], [0, 0, 1]]


def test_a_seed_that_one_recipe_lacks_is_dropped() -> None:
    first = {(0, 0): bits("1100"), (0, 1): bits("1111"), (0, 2): bits("0000")}
    second = {(0, 0): bits("1010"), (0, 2): bits("0001"), (0, 3): bits("1111")}
    found = difference_cells(first, second, by_replicate=False)
    assert found is not None
    assert found.tolist() == [[0, 1, -1, 0], [0, 0, 0, -1]]


def test_replicates_compare_the_same_seeds() -> None:
    first = {(0, 0): bits("1"), (0, 1): bits("1"), (1, 0): bits("1")}
    second = {(0, 0): bits("1"), (1, 0): bits("0"), (1, 5): bits("0")}
    found = difference_cells(first, second, by_replicate=True)
    assert found is not None
    assert found.tolist() == [[0], [1]]


def test_nothing_shared_is_none() -> None:
    assert accuracy_cells({}, by_replicate=True) is None
    assert difference_cells({(0, 0): bits("1")}, {(0, 1): bits("1")}, by_replicate=False) is None


def test_students_of_different_test_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="same number of test images"):
        accuracy_cells({(0, 0): bits("11"), (0, 1): bits("111")}, by_replicate=False)
    with pytest.raises(ValueError, match="same number of test images"):
        difference_cells({(0, 0): bits("11")}, {(0, 0): bits("1")}, by_replicate=False)


VALUES = arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.sampled_from([0, 1]))


@settings(deadline=None)
@given(VALUES, st.data())
def test_groups_keep_the_mean_of_every_seed(values_SN: npt.NDArray[np.float64], data: st.DataObject) -> None:
    N = values_SN.shape[1]
    group_N = np.array(data.draw(st.lists(st.sampled_from("abcd"), min_size=N, max_size=N)))
    cells_SG = grouped_cells(values_SN, group_N)
    assert cells_SG.shape == (len(values_SN), len(set(group_N)))
    assert cells_SG.mean(axis=1) == pytest.approx(values_SN.mean(axis=1))


def test_a_cell_of_groups_of_equal_size_is_the_mean_over_their_images() -> None:
    values_SN = np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    assert grouped_cells(values_SN, np.array([7, 7, 3, 3])) == pytest.approx(np.array([[1, 0.5], [0.5, 0]]))


def test_every_image_needs_a_group() -> None:
    with pytest.raises(ValueError, match="one entry for each of 3 images"):
        grouped_cells(np.zeros((2, 3)), np.array([1, 2]))
