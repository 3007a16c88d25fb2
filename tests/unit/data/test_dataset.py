"""Loading: checks before decoding, decoding, statistics and the fingerprint."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.made_images import (
    GIVEN_TEST,
    LABELS,
    PNGS,
    SPLITS,
    parquet,
    pictures,
    png,
    read,
    refused,
    write_folder,
    write_parquet,
)
from wetakd.common.errors import UserError
from wetakd.common.machine_memory import free_memory
from wetakd.config import DigitsData, FolderData, ParquetData, SplitsConfig, TransformConfig
from wetakd.data.dataset import load_dataset

SHARED = Path(os.environ.get("WETAKD_TEST_CIFAR", Path(__file__).parents[4] / "shared" / "data" / "cifar10-jpeg"))


@pytest.fixture
def train(tmp_path: Path) -> str:
    return write_parquet(tmp_path / "train.parquet", PNGS, LABELS)


def test_loading_twice_gives_the_same_fingerprint_and_each_change_another() -> None:
    base = read(DigitsData()).fingerprint
    assert read(DigitsData()).fingerprint == base
    others = {
        read(DigitsData(max_train_images=1500)).fingerprint,
        read(DigitsData(), SplitsConfig(weigh=0.2, choose=0.2, test=0.2, seed=1)).fingerprint,
        read(DigitsData(), SplitsConfig(weigh=0.21, choose=0.2, test=0.2)).fingerprint,
        read(DigitsData(), mean=(0.5,)).fingerprint,
        read(DigitsData(), size=10).fingerprint,
        read(DigitsData(), channels="rgb").fingerprint,
    }
    assert len(others | {base}) == 7


def test_a_dataset_survives_pickling() -> None:
    dataset = read(DigitsData(max_train_images=200))
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again.images_NCHW, dataset.images_NCHW)
    assert again.fingerprint == dataset.fingerprint


@pytest.mark.skipif(not SHARED.is_dir(), reason="CIFAR-10 as Parquet is not here")
def test_real_cifar_images() -> None:
    seen = []
    data = parquet(str(SHARED / "train.parquet"), str(SHARED / "test.parquet"), max_train_images=1500)
    dataset = load_dataset(
        data.model_copy(update={"max_test_images": 500}),
        SplitsConfig(),
        TransformConfig(),
        memory_share=0.5,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert dataset.images_NCHW.shape == (2000, 3, 32, 32)
    assert dataset.class_names[:2] == ("airplane", "automobile")
    assert np.allclose(dataset.transform.mean, (0.49, 0.48, 0.45), atol=0.03)
    assert seen[-1] == (2000, 2000)
    assert seen == sorted(seen)


def test_max_images_cut_train_and_test(tmp_path: Path, train: str) -> None:
    test = write_parquet(tmp_path / "test.parquet", PNGS[:12], LABELS[:12])
    data = parquet(train, test, max_train_images=21, max_test_images=6)
    dataset = read(data, GIVEN_TEST)
    assert len(dataset.images_NCHW) == 27
    np.testing.assert_array_equal(dataset.images_NCHW[21:], dataset.images_NCHW[:6])
    assert "'2' has no image among the 2 of the test set" in refused(
        data.model_copy(update={"max_test_images": 2}), GIVEN_TEST
    )
    assert "class '0' has 1 of the 2 training images" in refused(
        data.model_copy(update={"max_train_images": 2}), GIVEN_TEST
    )
    assert refused(parquet(train, max_test_images=6)).startswith("data.max_test_images: 6 has no meaning")


def test_statistics_are_those_of_split_fit(train: str) -> None:
    dataset = read(parquet(train))
    fit = dataset.images_NCHW[dataset.splits.fit] / 255
    np.testing.assert_allclose(dataset.transform.mean, fit.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(dataset.transform.std, fit.std(axis=(0, 2, 3)))


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    images = [*PNGS[:17], png(pictures(1, size=9)[0]), png(pictures(1, size=5)[0]), *PNGS[19:]]
    path = write_parquet(tmp_path / "mixed.parquet", images, LABELS)
    message = refused(parquet(path))
    assert message.startswith(f"transform.size: required, for row 17 of '{path}' of data.train is 9x9")
    assert "first image 6x6" in message
    assert read(parquet(path), size=8).images_NCHW.shape == (30, 3, 8, 8)


def test_grey_and_colour_mix_under_the_first_images_channels(tmp_path: Path) -> None:
    grey = png(pictures(1, channels=1)[0])
    assert read(parquet(write_parquet(tmp_path / "a.parquet", [grey, *PNGS[1:]], LABELS))).transform.channels == 1
    assert read(parquet(write_parquet(tmp_path / "b.parquet", [*PNGS[:-1], grey], LABELS))).transform.channels == 3


def test_progress_counts_every_image_once() -> None:
    seen: list[tuple[int, int]] = []
    load_dataset(DigitsData(), SPLITS, TransformConfig(), memory_share=0.5, on_progress=lambda *step: seen.append(step))
    assert seen == [(1024, 1797), (1797, 1797)]


def test_memory_is_checked_before_decoding(tmp_path: Path) -> None:
    # All but the first image are damaged: decoding any would end in another message.
    path = write_parquet(tmp_path / "a.parquet", [PNGS[0], *[b"damaged"] * 29], LABELS)
    with pytest.raises(UserError, match=r"limits.memory_share: 1e-09 of the .* GB free .* 30 images of 3x6x6 take"):
        load_dataset(parquet(path), SPLITS, TransformConfig(), memory_share=1e-9)


def test_a_containers_own_limit_counts(tmp_path: Path) -> None:
    free = free_memory(tmp_path)  # no limit there
    assert free > 10**6
    for name, text in (("max", "3000"), ("current", "2500"), ("stat", "anon 2000\ninactive_file 400\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_memory(tmp_path) == 900
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 10**6


@pytest.mark.parametrize(
    "damage", [b"", b"not an image", PNGS[0][:40], PNGS[0][:-30], PNGS[0].replace(b"IDAT", b"IDAX")]
)
@pytest.mark.parametrize("row", [0, 23])
def test_a_damaged_image_is_named_by_its_row(tmp_path: Path, damage: bytes, row: int) -> None:
    images = [*PNGS[:row], damage, *PNGS[row + 1 :]]
    path = write_parquet(tmp_path / "a.parquet", images, LABELS)
    message = refused(parquet(path))
    assert message.startswith(f"data.train: row {row} of '{path}' cannot be decoded as an image: ")


def test_rows_are_counted_within_their_own_file(tmp_path: Path) -> None:
    first = write_parquet(tmp_path / "a.parquet", PNGS[:12], LABELS[:12])
    second = write_parquet(tmp_path / "b.parquet", [*PNGS[12:15], None, *PNGS[16:]], LABELS[12:])
    message = refused(ParquetData(source="parquet", train=(first, second)))
    assert message == f"data.train: row 3 of '{second}' has no image bytes"


def test_a_damaged_file_in_a_folder_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path, LABELS, PNGS)
    (tmp_path / "b" / "004.png").write_bytes(b"damaged")
    assert f"{tmp_path}/b/004.png cannot be decoded as an image" in refused(FolderData(source="folder", train=root))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat"] * 30, "has labels of type string in column 'label'; integers 0..C-1 are needed"),
        ([0.5] * 30, "has labels of type double"),
        ([True, False, True] * 10, "has labels of type bool"),
        ([*LABELS[:-1], None], "row 29 has no label in column 'label'"),
        ([*LABELS[:-1], -1], "row 29 of '.*' has label -1, but train has classes 0..2"),
        ([0, 1, 3] * 10, "class 2 has no image; labels must be 0..C-1 without gaps"),
        ([1, 2, 3] * 10, "class 0 has no image"),
        ([0, 1, 10**15] * 10, "class 2 has no image"),
        ([0] * 30, "all images have the same class; at least two classes are needed"),
    ],
)
def test_labels_that_do_not_do_are_refused(tmp_path: Path, labels: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=f"data.train: .*{message}"):
        read(parquet(write_parquet(tmp_path / "a.parquet", PNGS, labels)))


def test_labels_must_suit_the_class_names(tmp_path: Path) -> None:
    few = write_parquet(tmp_path / "few.parquet", PNGS, LABELS, metadata={"class_names": "a,b"})
    assert f"row 2 of '{few}' has label 2, but 2 classes are named" in refused(parquet(few))
    many = write_parquet(tmp_path / "many.parquet", PNGS, LABELS, metadata={"class_names": "a,b,c,d"})
    assert "class 3 (d) has no image" in refused(parquet(many))


def test_labels_of_the_test_set_must_be_known_to_train(tmp_path: Path, train: str) -> None:
    test = write_parquet(tmp_path / "test.parquet", PNGS, [*LABELS[:-1], 3])
    assert f"data.test: row 29 of '{test}' has label 3" in refused(parquet(train, test), GIVEN_TEST)
    missing = write_parquet(tmp_path / "missing.parquet", PNGS[:2], [0, 1])
    assert "data.test: class '2' has no image" in refused(parquet(train, missing), GIVEN_TEST)
