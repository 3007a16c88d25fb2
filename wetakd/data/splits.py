"""Four disjoint, stratified splits by sample id, fixed by a seed.

`fit` trains networks, `weigh` fits the ensemble weights, `choose` chooses, `test` evaluates, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from wetakd.common.errors import UserError
from wetakd.config import SplitsConfig


@dataclass(frozen=True, eq=False)
class Splits:
    """Sample ids of each split: int64, sorted, disjoint."""

    fit: np.ndarray
    weigh: np.ndarray
    choose: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class SplitLabels:
    """The labels of every split: all that is needed beside logits, and small whatever the size of the images."""

    labels_N: np.ndarray  # int64, by sample id
    splits: Splits

    def of(self, split: str) -> np.ndarray:
        """Labels (int64) of the samples of `split`, in the order of the split."""
        labels: np.ndarray = self.labels_N[getattr(self.splits, split)]
        return labels


def draw_splits(
    labels_N: np.ndarray, num_train: int, has_test: bool, config: SplitsConfig, class_names: Sequence[str]
) -> Splits:
    """Stratified splits: each takes its share of every class, rounded.

    Args:
        labels_N: int64, the training images' first, then the source's test images'.
        num_train: how many of them are training images.
        has_test: whether the rest is the source's own test set.
        config: shares and seed.
        class_names: C names, for messages.

    Raises:
        UserError: a class would be without an image in some split, or `config.test` does not suit the source.
    """
    if has_test and config.test is not None:
        raise UserError(f"splits.test: {config.test:g} has no meaning, for the source has a test set; leave it out")
    if not has_test and config.test is None:
        raise UserError("splits.test: required, for the source has no test set; 0.2 is usual")
    generator = np.random.RandomState(config.seed)  # whose stream never changes (NEP 19)
    drawn: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(Splits)}
    for label, name in enumerate(class_names):
        ids = np.flatnonzero(labels_N[:num_train] == label)
        counts = _split_sizes(len(ids), num_train, config, name)
        ends = np.cumsum(list(counts.values()))[:-1]
        for split, some in zip(counts, np.split(generator.permutation(ids), ends), strict=True):
            drawn[split].append(some)
    if has_test:
        _check_test(labels_N[num_train:], class_names)
        drawn["test"].append(np.arange(num_train, len(labels_N)))
    return Splits(**{split: np.sort(np.concatenate(ids)).astype(np.int64) for split, ids in drawn.items()})


def _split_sizes(num: int, num_train: int, config: SplitsConfig, name: str) -> dict[str, int]:
    """Images of each split, out of the `num` training images of class `name`."""
    needed = 3 if config.test is None else 4
    if num < needed:
        raise UserError(
            f"data: class {name!r} has {num} of the {num_train} training images; at least {needed} are needed, one for "
            "each split"
        )
    test = _share(num, config.test, "test", name) if config.test is not None else 0
    rest = num - test
    if not rest:
        raise UserError(f"splits.test: {config.test:g} leaves none of the {num} images of class {name!r} to train on")
    weigh, choose = (
        _share(rest, share, split, name) for split, share in (("weigh", config.weigh), ("choose", config.choose))
    )
    if weigh + choose >= rest:
        raise UserError(
            f"splits: weigh {config.weigh:g} and choose {config.choose:g} leave none of the {rest} training images of "
            f"class {name!r} to fit; lower them"
        )
    return {"test": test, "weigh": weigh, "choose": choose, "fit": rest - weigh - choose}


def _share(num: int, share: float, split: str, name: str) -> int:
    if count := int(num * share + 0.5):
        return count
    enough = np.ceil(500 / num) / 1000
    raise UserError(
        f"splits.{split}: {share:g} gives none of the {num} images of class {name!r}; {enough:g} would give one"
    )


def _check_test(labels_N: np.ndarray, class_names: Sequence[str]) -> None:
    missing = np.setdiff1d(np.arange(len(class_names)), labels_N)
    if len(missing):
        raise UserError(
            f"data.test: class {class_names[missing[0]]!r} has no image among the {len(labels_N)} of the test set; "
            "every class needs one (data.max_test_images may be too low)"
        )
