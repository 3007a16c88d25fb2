"""Readers of images on real files, and one clear line for each thing that can be wrong with them."""

import hashlib
import json
import pickle
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.bad_input.wrong_input import call
from tests.unit.made_images import (
    GIVEN_TEST,
    LABELS,
    PIXELS,
    PNGS,
    parquet,
    pictures,
    read,
    refused,
    write_folder,
    write_parquet,
)
from wetakd.common.errors import UserError
from wetakd.config import CallableData, CifarData, DigitsData, FolderData, ParquetData, SplitsConfig, TransformConfig
from wetakd.data.dataset import load_dataset


@pytest.fixture
def train(tmp_path: Path) -> str:
    return write_parquet(tmp_path / "train.parquet", PNGS, LABELS)


def test_digits_are_real_grey_and_scaled_to_255() -> None:
    dataset = read(DigitsData())
    assert dataset.images_NCHW.shape == (1797, 1, 8, 8)
    assert (dataset.images_NCHW.dtype, dataset.labels_N.dtype) == (np.uint8, np.int64)
    assert (dataset.images_NCHW.min(), dataset.images_NCHW.max()) == (0, 255)
    assert dataset.images_NCHW.flags.c_contiguous
    assert dataset.class_names == tuple("0123456789")
    assert dataset.num_classes == 10


@pytest.mark.parametrize("plain", [False, True])
def test_parquet_gives_the_very_pixels_that_were_stored(tmp_path: Path, plain: bool) -> None:
    path = write_parquet(tmp_path / "a.parquet", PNGS, LABELS, plain=plain, names=("picture", "class"))
    dataset = read(parquet(path, image_column="picture", label_column="class"))
    np.testing.assert_array_equal(dataset.images_NCHW, PIXELS.transpose(0, 3, 1, 2))
    assert dataset.labels_N.tolist() == LABELS
    assert dataset.class_names == ("0", "1", "2")


def test_parquet_takes_several_files_globs_folders_and_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b").mkdir()
    for i in range(3):
        write_parquet(tmp_path / "a b" / f"part-{i}.parquet", PNGS[i * 10 : i * 10 + 10], LABELS[i * 10 : i * 10 + 10])
    (tmp_path / "a b" / "README.md").write_text("not data")
    folder = tmp_path / "a b"
    listed = ParquetData(source="parquet", train=tuple(str(folder / f"part-{i}.parquet") for i in range(3)))
    wanted = read(listed).fingerprint
    monkeypatch.chdir(tmp_path)
    ways = [f"{folder}/part-*.parquet", f"{tmp_path}/a*/part-[0-9].parquet", str(folder), folder.as_uri()]
    for way in (*ways, f"{folder.as_uri()}/part-*.parquet", "a b/*.parquet"):
        assert read(parquet(way)).fingerprint == wanted, way


@pytest.mark.parametrize("name", ["data [v1]", "a?b", "c*d", "[!x]", "[]", "**", "[a-"])
def test_a_path_that_exists_wins_over_its_reading_as_a_glob(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    # What each name matches as a glob, and must not be read.
    others = [tmp_path / other for other in ("data v", "data 1", "aab", "cd", "cxd", "y", "x")]
    for other in (folder, *others):
        other.mkdir()
        for i in range(2):
            labels = [(label + (other != folder)) % 3 for label in LABELS]
            write_parquet(other / f"{name} {i}.parquet", PNGS, labels)
    wanted = read(ParquetData(source="parquet", train=tuple(str(folder / f"{name} {i}.parquet") for i in (0, 1))))
    assert wanted.labels_N.tolist() == [*LABELS, *LABELS]
    for way in (str(folder), f"{folder}/", f"{folder}/*.parquet", f"{folder}/*[01].parquet"):
        assert read(parquet(way)).fingerprint == wanted.fingerprint, way
    # Below a component that is a glob, a name that fits as it is written counts, too.
    assert len(read(parquet(f"{tmp_path}/*/{name} 0.parquet")).labels_N) == 8 * len(LABELS)
    write_folder(folder, LABELS, PNGS)
    assert read(FolderData(source="folder", train=str(folder))).labels_N.tolist() == LABELS


def test_a_file_that_exists_wins_over_those_that_match_it_as_a_glob(tmp_path: Path) -> None:
    write_parquet(tmp_path / "part-[01].parquet", PNGS, LABELS)
    for i in range(2):
        write_parquet(tmp_path / f"part-{i}.parquet", PNGS, LABELS)
    path = str(tmp_path / "part-[01].parquet")
    assert len(read(parquet(path)).labels_N) == 30
    Path(path).unlink()
    assert len(read(parquet(path)).labels_N) == 60


def test_class_names_come_from_the_schema_or_from_hugging_face(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}}
    for metadata in (
        {"class_names": "cat, dog,eel"},
        {"class_names": json.dumps(["cat", "dog", "eel"])},
        {"huggingface": json.dumps({"info": {"features": features}})},
    ):
        path = write_parquet(tmp_path / "named.parquet", PNGS, LABELS, metadata=metadata)
        assert read(parquet(path)).class_names == ("cat", "dog", "eel")
    path = write_parquet(tmp_path / "odd.parquet", PNGS, LABELS, metadata={"huggingface": "{not json"})
    assert read(parquet(path)).class_names == ("0", "1", "2")


@pytest.mark.parametrize("dtype", [pa.int8(), pa.uint16(), pa.int32()])
def test_any_integer_type_of_label_will_do(tmp_path: Path, dtype: pa.DataType) -> None:
    table = pa.table({"img": pa.array(PNGS, pa.large_binary()), "label": pa.array(LABELS, dtype)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(parquet(str(tmp_path / "a.parquet"))).labels_N.tolist() == LABELS


def test_a_folder_has_one_sub_folder_a_class(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "train", [0] * 10 + [1] * 10 + [2] * 10, PNGS)
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / "a" / "._000.png").write_bytes(b"left by another system")
    dataset = read(FolderData(source="folder", train=root))
    assert dataset.class_names == ("a", "b", "c")
    # Class by class in turn, so that the first so many images hold all classes.
    assert dataset.labels_N.tolist() == [0, 1, 2] * 10
    np.testing.assert_array_equal(dataset.images_NCHW[4], PIXELS[11].transpose(2, 0, 1))
    cut = read(FolderData(source="folder", train=root, max_train_images=15))
    np.testing.assert_array_equal(cut.images_NCHW, dataset.images_NCHW[:15])


def arrays(shape: str = "NHWC", num: int = 30, test: bool = False, channels: int = 3) -> tuple[np.ndarray, ...]:
    """A user's loader, found as `this.module:arrays`."""
    images = pictures(num, channels=channels)
    images = {"NHWC": images, "NCHW": images.transpose(0, 3, 1, 2), "NHW": images[..., 0]}[shape]
    labels = np.arange(num, dtype=np.int32) % 3
    return (images, labels, images[:9], labels[:9]) if test else (images, labels)


def user(name: str, **options: Any) -> CallableData:
    return CallableData(source="callable", callable=f"{__name__}:{name}", options=options)


@pytest.mark.parametrize(("shape", "channels"), [("NHWC", 3), ("NCHW", 3), ("NHW", 1), ("NHWC", 1), ("NCHW", 1)])
def test_a_users_function_may_give_its_arrays_in_any_usual_layout(shape: str, channels: int) -> None:
    dataset = read(user("arrays", shape=shape, channels=channels))
    np.testing.assert_array_equal(dataset.images_NCHW, pictures(30, channels=channels).transpose(0, 3, 1, 2))


def test_a_users_function_may_give_a_test_set() -> None:
    dataset = read(user("arrays", test=True), GIVEN_TEST)
    assert dataset.splits.test.tolist() == list(range(30, 39))


def test_a_test_share_for_a_source_that_has_a_test_set_is_refused() -> None:
    assert "splits.test: 0.2 has no meaning" in refused(user("arrays", test=True))


def test_cifar_is_read_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real files in CIFAR-10's format, only fewer images; torchvision's checksums are set to theirs."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)

    def write(name: str, content: Mapping[str, Any]) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    names = [f"class{i}" for i in range(10)]
    meta = write("batches.meta", {"label_names": names})
    train = write("data_batch_1", {"data": pixels[:30].reshape(30, -1), "labels": [i % 10 for i in range(30)]})
    test = write("test_batch", {"data": pixels[30:].reshape(10, -1), "labels": list(range(10))})
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", train]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", test]])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    dataset = read(CifarData(source="cifar10", root=str(tmp_path)), SplitsConfig(weigh=0.3, choose=0.3))
    np.testing.assert_array_equal(dataset.images_NCHW, pixels)
    assert dataset.class_names == tuple(names)
    assert dataset.splits.test.tolist() == list(range(30, 40))


def test_files_that_are_not_parquet_or_not_there(tmp_path: Path, train: str) -> None:
    assert refused(parquet(str(tmp_path / "none.parquet"))) == f"data.train: '{tmp_path}/none.parquet': no such file"
    assert refused(parquet(f"{tmp_path}/none-*.parquet")).endswith("no such file")
    assert refused(parquet(train, str(tmp_path / "none.parquet")), GIVEN_TEST).startswith("data.test: ")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no such file" in refused(parquet(str(empty)))
    whole = Path(train).read_bytes()
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        Path(train).write_bytes(whole[:size])
        assert refused(parquet(train)).startswith(f"data.train: '{train}' cannot be read as Parquet: ")


def test_a_hole_in_the_pixels_of_a_file_is_one_line(train: str) -> None:
    whole = Path(train).read_bytes()
    Path(train).write_bytes(whole[:200] + b"\xff" * 1500 + whole[1700:])
    assert train in refused(parquet(train))


def test_columns_that_are_not_there_or_of_the_wrong_kind(tmp_path: Path, train: str) -> None:
    message = refused(parquet(train, image_column="image"))
    assert message == f"data.image_column: 'image' is not a column of '{train}', which has ['img', 'label']"
    assert refused(parquet(train, label_column="fine_label")).startswith("data.label_column: 'fine_label' is not")
    assert "has int64 in column 'label'; bytes, or a struct" in refused(parquet(train, image_column="label"))
    assert "has labels of type struct" in refused(parquet(train, label_column="img"))


def test_an_empty_file_and_a_shared_file_are_refused(tmp_path: Path, train: str) -> None:
    table = pq.read_table(train).slice(0, 0)
    pq.write_table(table, tmp_path / "empty.parquet")
    assert refused(parquet(str(tmp_path / "empty.parquet"))) == "data.train: has no images"
    assert "is also in data.train" in refused(parquet(train, train), GIVEN_TEST)


@pytest.mark.parametrize(
    "uri",
    [
        "nonsense://user:hush@host/a.parquet",
        "s3://AKIA:hush@bucket/x?secret_key=hush",
        "https://user:hush@h/a.parquet",
    ],
)
def test_credentials_in_a_uri_never_reach_a_message(uri: str) -> None:
    message = refused(parquet(uri))
    assert message.startswith("data.train: ")
    assert "hush" not in message


def test_folders_that_do_not_do_are_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "train", LABELS, PNGS)
    assert "is not a folder" in refused(FolderData(source="folder", train=str(tmp_path / "none")))
    (tmp_path / "bare").mkdir()
    assert "has no sub-folders" in refused(FolderData(source="folder", train=str(tmp_path / "bare")))
    other = write_folder(tmp_path / "test", [0, 1, 2], PNGS[:3], names="abx")
    both = FolderData(source="folder", train=root, test=other)
    assert "has a class 'x' that" in refused(both, GIVEN_TEST)
    (tmp_path / "train" / "d").mkdir()
    assert "class 3 (d) has no image" in refused(FolderData(source="folder", train=root))


def raises() -> None:
    raise RuntimeError("the disk\nis full")


def returns(what: str) -> Any:
    images, labels = arrays()
    return {
        "nothing": None,
        "one": (images,),
        "floats": (images / 255, labels),
        "flat": (images.reshape(30, -1), labels),
        "two channels": (images[..., :2], labels),
        "either way": (images[:, :3], labels),
        "short": (images, labels[:-1]),
        "names": (images, np.array(["cat"] * 30)),
        "columns": (images, labels[:, None]),
        "empty": (images[:0], labels[:0]),
        "gradient": (torch.ones(30, 6, 6, 3, requires_grad=True), labels),
        "bfloat16": (images, torch.zeros(30, dtype=torch.bfloat16)),
    }[what]


NOT_A_FUNCTION = 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (CallableData(source="callable", callable="no_such_module:f"), "no module 'no_such_module' on PYTHONPATH"),
        (user("no_such_function"), "not found: AttributeError"),
        (user("NOT_A_FUNCTION"), "is int, not a function"),
        (user("raises"), "raised RuntimeError: the disk is full"),
        (user("arrays", unknown=1), "raised TypeError: .*unknown"),
        (user("returns", what="nothing"), r"must return \(images, labels\) .* not NoneType"),
        (user("returns", what="one"), "not tuple of 1"),
        (user("returns", what="floats"), "images as float64 of shape .*; uint8 of shape NCHW, NHWC or NHW is needed"),
        (user("returns", what="flat"), r"images as uint8 of shape \(30, 108\)"),
        (user("returns", what="two channels"), "1, 3 or 4 channels are needed"),
        (user("returns", what="either way"), "could be NCHW or NHWC"),
        (user("returns", what="short"), r"labels as int32 of shape \(29,\); integers of shape \(30,\) are needed"),
        (user("returns", what="names"), "labels as <U3 of shape"),
        (user("returns", what="columns"), r"labels as int32 of shape \(30, 1\)"),
        (user("returns", what="empty"), "data.callable: has no images"),
        (user("returns", what="gradient"), "images or labels that are no array: RuntimeError"),
        (user("returns", what="bfloat16"), "images or labels that are no array: TypeError"),
    ],
)
def test_a_users_function_that_does_not_do_is_refused(data: CallableData, message: str) -> None:
    with pytest.raises(UserError, match=f"^data.callable: .*{message.removeprefix('data.callable: ')}"):
        read(data)


def test_cifar_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(CifarData(source="cifar100", root=str(tmp_path)), GIVEN_TEST)
    assert message.startswith(f"data.root: '{tmp_path}' holds no intact cifar100 files; set data.download: true")
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # where nothing listens: no network
    monkeypatch.setattr(urllib.request, "_opener", None)  # kept from the first use on, and so is its proxy
    message = refused(CifarData(source="cifar10", root=str(tmp_path), download=True), GIVEN_TEST)
    assert message.startswith("data.download: cifar10 could not be fetched")


# ------------------------------------------------------------------------------------------------- links in folders


def _said(data: FolderData) -> list[str]:
    lines: list[str] = []
    load_dataset(data, SplitsConfig(test=0.2), TransformConfig(), memory_share=0.5, on_note=lines.append)
    return lines


def test_links_to_files_are_read_and_counted(tmp_path: Path) -> None:
    plain = FolderData(source="folder", train=write_folder(tmp_path / "plain", LABELS, PNGS))
    linked = FolderData(source="folder", train=write_folder(tmp_path / "linked", LABELS, PNGS))
    for name in ("a/000.png", "b/001.png"):
        (tmp_path / "linked" / name).unlink()
        (tmp_path / "linked" / name).symlink_to(tmp_path / "plain" / name)
    assert _said(plain) == []
    assert _said(linked) == ["data.train: 2 of 30 image files are symbolic links; they are read"]
    assert read(linked).fingerprint == read(plain).fingerprint


def test_links_to_folders_are_named_and_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FolderData(source="folder", train=write_folder(tmp_path / "d", LABELS, PNGS))
    before = read(data).fingerprint
    more = Path(write_folder(tmp_path / "x", LABELS, PNGS))
    (tmp_path / "d/a/deep").mkdir()
    for i, name in enumerate(("a/more", "a/deep/loop", "b/more.png")):
        (tmp_path / "d" / name).symlink_to(tmp_path if i == 1 else more, target_is_directory=True)
    (line,) = _said(data)
    assert line.startswith("data.train: symbolic links to folders are not followed: ")
    for name in ("a/more", "a/deep/loop", "b/more.png"):
        assert f"{tmp_path}/d/{name}" in line
    assert read(data).fingerprint == before
    monkeypatch.chdir(tmp_path)
    code, _, told = call("init", "d")
    assert (code, "d/a/more" in told, told.count("\n")) == (0, True, 1)
    code, _, told = call("plan", "d.yaml")
    assert (code, "d/a/more" in told) == (0, True), told
    for i in range(9):
        (tmp_path / f"d/c/more-{i}").symlink_to(more, target_is_directory=True)
    assert " and 7 more; " in _said(data)[0]
