"""Splits: disjoint, complete, stratified, and the same for ever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.made_images import SPLITS
from wetakd.common.errors import UserError
from wetakd.config import SplitsConfig
from wetakd.data.splits import draw_splits


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=6),
    weigh=st.floats(0.1, 0.4),
    choose=st.floats(0.1, 0.4),
    test=st.one_of(st.none(), st.floats(0.1, 0.3)),
    seed=st.integers(0, 2**31 - 1),
)
def test_splits_are_disjoint_complete_stratified_and_fixed(
    counts: list[int], weigh: float, choose: float, test: float | None, seed: int
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    num_train, names = len(labels), [f"c{i}" for i in range(len(counts))]
    if test is None:
        labels = np.concatenate([labels, np.arange(len(counts))])
    config = SplitsConfig(weigh=weigh, choose=choose, test=test, seed=seed)
    splits = draw_splits(labels, num_train, test is None, config, names)
    parts = [splits.fit, splits.weigh, splits.choose, splits.test]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert len(np.unique(labels[part])) == len(counts)
    if test is None:
        assert splits.test.min() == num_train
        for share, part in ((weigh, splits.weigh), (choose, splits.choose)):
            assert np.abs(np.bincount(labels[part]) - share * np.array(counts)).max() <= 0.5 + 1e-9
    again = draw_splits(labels, num_train, test is None, config, names)
    assert all(
        np.array_equal(one, other) for one, other in zip(vars(splits).values(), vars(again).values(), strict=True)
    )


def test_splits_never_change_between_versions() -> None:
    """A change here would give every stored network another training set."""
    splits = draw_splits(np.arange(40) % 2, 40, False, SPLITS, ["a", "b"])
    assert splits.test.tolist() == [2, 3, 16, 23, 35, 36, 37, 38]
    assert splits.weigh.tolist() == [5, 12, 20, 25, 34, 39]


def test_another_seed_draws_other_splits() -> None:
    other = SplitsConfig(weigh=0.2, choose=0.2, test=0.2, seed=1)
    labels = np.arange(400) % 2
    one, two = (draw_splits(labels, 400, False, config, ["a", "b"]) for config in (SPLITS, other))
    assert not np.array_equal(one.fit, two.fit)


@pytest.mark.parametrize(
    ("counts", "config", "message"),
    [
        ((20, 20), {"weigh": 0.1}, "splits.test: required, for the source has no test set"),
        ((20, 2), {"test": 0.2}, "class 'b' has 2 of the 22 training images; at least 4 are needed"),
        ((100, 6), {"test": 0.05}, "splits.test: 0.05 gives none of the 6 images of class 'b'; 0.084 would give one"),
        ((90, 8), {"test": 0.5, "weigh": 0.01}, "splits.weigh: 0.01 gives none of the 45 images of class 'a'; 0.012 "),
        (
            (100, 8),
            {"test": 0.5, "weigh": 0.2, "choose": 0.1},
            "splits.choose: 0.1 gives none of the 4 images of class 'b'; 0.125",
        ),
        ((9, 9), {"test": 0.1, "weigh": 0.5, "choose": 0.5}, "leave none of the 8 training images of class 'a' to fit"),
    ],
)
def test_splits_that_cannot_be_are_refused(counts: tuple[int, int], config: dict[str, float], message: str) -> None:
    labels = np.repeat([0, 1], counts)
    with pytest.raises(UserError, match=message):
        draw_splits(labels, len(labels), False, SplitsConfig(**config), ["a", "b"])


def test_the_share_that_a_message_recommends_is_enough() -> None:
    for num in range(4, 300):
        enough = float(np.ceil(500 / num) / 1000)
        assert int(num * enough + 0.5) >= 1
