"""Whatever a user gets wrong ends before training, with one line and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bad_input import data_files, score_files
from tests.bad_input.catalogue import CATALOGUE, all_wrong_inputs
from tests.bad_input.study_files import BASE
from tests.bad_input.wrong_input import Outcome, WrongInput, attempt
from tests.unit.made_images import png

LEAST = 500

fuzz = settings(
    deadline=None, derandomize=True, database=None, max_examples=40, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WETAKD_STORAGE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", CATALOGUE)
def test_every_way_is_refused_in_one_line(kind: str, record_property: Any) -> None:
    wrong = {}
    for wrong_input in CATALOGUE[kind]():
        outcome = attempt(wrong_input)
        silent = [word for word in wrong_input.says if word not in outcome.err]
        if outcome.fault or silent:
            wrong[str(wrong_input)] = f"{outcome.fault or f'does not say {silent}'}: {outcome.err[-300:]}"
    assert not wrong, "\n".join(f"{shown} -> {why}" for shown, why in wrong.items())


def test_there_are_more_than_five_hundred_ways(capsys: pytest.CaptureFixture[str]) -> None:
    ways = {(str(wrong_input), wrong_input.command) for wrong_input in all_wrong_inputs()}
    with capsys.disabled():
        print(f" {len(ways)} ways of bad input", end="")
    assert len(ways) >= LEAST


def _refused_or_fine(outcome: Outcome) -> None:
    """For input that may be right by chance."""
    if outcome.code != 0:
        assert outcome.fault is None, f"{outcome.fault}: {outcome.err}"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
_paths = st.sampled_from(
    [(block, *rest) for block, tree in BASE.items() for rest in ((), *((key,) for key in tree), ("x",))]  # type: ignore[attr-defined]
)


@fuzz
@given(path=_paths, value=_values)
def test_any_value_in_any_place(path: tuple[str, ...], value: Any) -> None:
    tree = yaml.safe_load(yaml.safe_dump(BASE))
    node = tree
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    study = yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
    _refused_or_fine(attempt(WrongInput("fuzz", str(path), ("validate", "study.yaml"), {"study.yaml": study})))


def _bytes_changed(raw: bytes) -> st.SearchStrategy[bytes]:
    """`raw` with a few bytes replaced, or cut."""
    places = st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), min_size=1, max_size=4)

    def change(places: list[tuple[int, int]], end: int) -> bytes:
        changed = bytearray(raw)
        for place, value in places:
            changed[place] = value
        return bytes(changed[:end])

    return st.builds(change, places, st.just(len(raw)) | st.integers(0, len(raw)))


_STUDY = yaml.safe_dump(BASE).encode()
_PARQUET = data_files.parquet(data_files.images(), data_files.LABELS)
_SCORES = {
    "npy": score_files.npy(score_files.LOGITS),
    "npz": score_files.npz(a=score_files.LOGITS[0], b=score_files.LOGITS[1]),
    "parquet": score_files.parquet({"a": score_files.LOGITS[0].tolist(), "b": score_files.LOGITS[1].tolist()}),
}


@fuzz
@given(study=_bytes_changed(_STUDY))
def test_a_study_file_with_some_bytes_changed(study: bytes) -> None:
    _refused_or_fine(attempt(WrongInput("fuzz", "study", ("validate", "study.yaml"), {"study.yaml": study})))


@fuzz
@given(content=_bytes_changed(_PARQUET))
def test_a_parquet_file_with_some_bytes_changed(content: bytes) -> None:
    data = {"source": "parquet", "train": "train.parquet"}
    files = {"study.yaml": yaml.safe_dump(BASE | {"data": data}).encode(), "train.parquet": content}
    outcome = attempt(WrongInput("fuzz", "data", ("plan", "study.yaml", "--json"), files))
    _refused_or_fine(outcome)


@fuzz
@given(data=st.data(), form=st.sampled_from(data_files.FORMATS))
def test_an_image_with_some_bytes_changed(data: st.DataObject, form: str) -> None:
    pictures = list(data_files.images(form))
    pictures[5] = data.draw(_bytes_changed(pictures[5]))
    block = {"source": "folder", "train": "train"}
    files = data_files.folder(pictures, data_files.LABELS, form.lower())
    files["study.yaml"] = yaml.safe_dump(BASE | {"data": block, "transform": {"size": 8}}).encode()
    _refused_or_fine(attempt(WrongInput("fuzz", "image", ("plan", "study.yaml", "--json"), files)))


@fuzz
@given(data=st.data(), ending=st.sampled_from(sorted(_SCORES)))
def test_scores_with_some_bytes_changed(data: st.DataObject, ending: str) -> None:
    name = f"scores.{ending}"
    files = {name: data.draw(_bytes_changed(_SCORES[ending])), "labels.npy": score_files.npy(score_files.LABELS)}
    words = ("weights", name, "labels.npy", "--scores-are", "logits", "--strategy", "uniform")
    _refused_or_fine(attempt(WrongInput("fuzz", name, words, files)))


def _odd_images() -> dict[str, bytes]:
    """Readings that are documented: grey, transparent, 16 bits, CMYK, palettes and one bit."""
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)

    def saved(image: Image.Image, form: str = "TIFF") -> bytes:
        file = io.BytesIO()
        image.save(file, form)
        return file.getvalue()

    return {
        "grey": png(noise[..., 0]),
        "RGB": png(noise[..., :3]),
        "RGBA": png(noise),
        "grey and alpha": saved(Image.fromarray(noise).convert("LA"), "PNG"),
        "16 bits": saved(Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "PNG"),
        "CMYK": saved(Image.fromarray(noise[..., :3]).convert("CMYK")),
        "CMYK in JPEG": saved(Image.fromarray(noise[..., :3]).convert("CMYK"), "JPEG"),
        "palette": saved(Image.fromarray(noise[..., :3]).convert("P"), "PNG"),
        "one bit": saved(Image.fromarray(noise[..., 0]).convert("1"), "PNG"),
        "YCbCr": saved(Image.fromarray(noise[..., :3]).convert("YCbCr"), "JPEG"),
    }


@pytest.mark.parametrize("what", _odd_images())
def test_images_of_every_documented_kind_are_read(what: str) -> None:
    pictures = [_odd_images()[what], *data_files.images()[1:]]
    for channels in ("grey", "rgb", "keep"):
        block = {"data": {"source": "parquet", "train": "train.parquet"}, "transform": {"channels": channels}}
        files = {
            "study.yaml": yaml.safe_dump(BASE | block).encode(),
            "train.parquet": data_files.parquet(pictures, data_files.LABELS),
        }
        outcome = attempt(WrongInput("odd", what, ("plan", "study.yaml", "--json"), files))
        assert (outcome.code, outcome.err) == (0, "")
