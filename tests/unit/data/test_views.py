"""Views: the same pixels everywhere, evenly drawn, and nothing written to the data set."""

import hashlib
import inspect
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from wetakd.common.errors import UserError
from wetakd.config import ViewsConfig
from wetakd.data.views import Views, as_tensor, hash_samples

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
VIEWS = Views(num=8, flip=True, crop_padding=4, seed=3)


def pictures(num: int, channels: int = 3, height: int = 12, width: int = 10) -> Tensor:
    """Every pixel of an image differs from its neighbours, so that a shift by one shows."""
    count = num * channels * height * width
    return (torch.arange(count) * 37 % 251 + 1).to(torch.uint8).view(num, channels, height, width)


def digest(views: Views) -> str:
    images_NCHW = pictures(64)
    shown = torch.stack([views.apply(images_NCHW, torch.arange(64), view) for view in range(views.num)])
    return hashlib.sha256(shown.numpy().tobytes()).hexdigest()[:16]


def by_hand(views: Views, image_CHW: np.ndarray, sample_id: int, view: int) -> np.ndarray:
    """One view of one image in plain Python integers."""
    mask, start = 2**64 - 1, views.seed * 0xD1342543DE82EF95 + view * 0xAF251AF3B0F025B5 + 1
    z = (start + sample_id) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    z ^= z >> 31
    p, (_, H, W) = views.crop_padding, image_CHW.shape
    top, left = ((z >> shift & 0xFFFFFF) * (2 * p + 1) >> 24 for shift in (0, 24))
    cut = np.pad(image_CHW, ((0, 0), (p, p), (p, p)))[:, top : top + H, left : left + W]
    return cut[:, :, ::-1] if views.flip and z >> 48 & 1 else cut


def test_hash_is_splitmix64() -> None:
    # The first outputs of the reference implementation for seed 0.
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert [int(bits) % 2**64 for bits in hash_samples(0, 0, torch.arange(4))] == published


def test_pixels_never_change_between_versions() -> None:
    """A change here makes every stored logit cache wrong: raise the versions in `plan/key_payloads.py` with it."""
    assert digest(VIEWS) == "4294654497cf361f"
    assert digest(Views(num=3, flip=True, crop_padding=0, seed=0)) == "b918296d2da80ef1"


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    view=st.integers(1, 1023),
    padding=st.integers(0, 7),
    flip=st.booleans(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    sample_ids=st.lists(st.integers(0, 19), max_size=12),
)
def test_apply_equals_the_loop_in_plain_integers(
    seed: int, view: int, padding: int, flip: bool, shape: tuple[int, int, int], sample_ids: list[int]
) -> None:
    views = Views(num=1024, flip=flip, crop_padding=padding, seed=seed)
    images_NCHW = pictures(20, *shape)
    shown = views.apply(images_NCHW, torch.tensor(sample_ids, dtype=torch.int64), view)
    assert shown.dtype == torch.uint8
    assert shown.shape == (len(sample_ids), *shape)
    for picture, sample_id in zip(shown.numpy(), sample_ids, strict=True):
        np.testing.assert_array_equal(picture, by_hand(views, images_NCHW[sample_id].numpy(), sample_id, view))


@pytest.mark.parametrize("device", DEVICES)
def test_pixels_depend_on_neither_batch_nor_device(device: str) -> None:
    images_NCHW = pictures(200).to(device)
    ids = torch.randperm(200, generator=torch.Generator().manual_seed(1)).to(device)
    together = VIEWS.apply(images_NCHW, ids, 5)
    alone = torch.cat([VIEWS.apply(images_NCHW, ids[i : i + 1], 5) for i in range(200)])
    assert torch.equal(together, alone)
    assert torch.equal(together.cpu(), VIEWS.apply(pictures(200), ids.cpu(), 5))


def test_pixels_are_the_same_in_another_process() -> None:
    lines = ["import hashlib, torch", "from torch import Tensor", "from wetakd.data.views import Views"]
    lines += [inspect.getsource(pictures), inspect.getsource(digest)]
    lines += ["torch.manual_seed(9)", "torch.set_num_threads(2)", f"print(digest({VIEWS!r}))"]
    other = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(VIEWS)


def test_view_0_is_clean_and_the_others_differ() -> None:
    images_NCHW, ids = pictures(50), torch.arange(50)
    assert torch.equal(VIEWS.apply(images_NCHW, ids, 0), images_NCHW)
    shown = [VIEWS.apply(images_NCHW, ids, view) for view in range(8)]
    assert not any(torch.equal(shown[i], shown[j]) for i in range(8) for j in range(i))
    other_seed = Views(num=8, flip=True, crop_padding=4, seed=4)
    assert not torch.equal(other_seed.apply(images_NCHW, ids, 1), shown[1])


def test_the_data_set_is_only_read() -> None:
    images_NCHW = pictures(10)
    before = images_NCHW.clone()
    for view in range(8):
        VIEWS.apply(images_NCHW, torch.arange(10), view).zero_()
    assert torch.equal(images_NCHW, before)


def test_a_view_that_does_not_exist_is_refused() -> None:
    for view in (-1, 8):
        with pytest.raises(ValueError, match=r"not one of 0\.\.7"):
            VIEWS.apply(pictures(2), torch.arange(2), view)


def draws(seed: int, view: int, num: int) -> np.ndarray:
    """What a view does to each sample, as one number: top, left and flip."""
    bits = hash_samples(seed, view, torch.arange(num)).numpy().view(np.uint64)
    top, left = ((bits >> np.uint64(shift) & np.uint64(0xFFFFFF)) * np.uint64(9) >> np.uint64(24) for shift in (0, 24))
    return ((top * np.uint64(9) + left) * np.uint64(2) + (bits >> np.uint64(48) & np.uint64(1))).astype(np.int64)


def test_draws_are_even_in_every_place_and_flip_together() -> None:
    assert chisquare(np.bincount(draws(0, 1, 100_000), minlength=162)).pvalue > 1e-3


@pytest.mark.parametrize("pair", ["next sample", "next view", "next seed"])
def test_draws_are_independent(pair: str) -> None:
    one = draws(7, 1, 400_000)
    other = {"next sample": np.roll(one, 1), "next view": draws(7, 2, 400_000), "next seed": draws(8, 1, 400_000)}[pair]
    joint = np.bincount(one * 162 + other, minlength=162 * 162)
    assert chisquare(joint).pvalue > 1e-3


def test_all_bits_of_the_hash_are_fair() -> None:
    bits = hash_samples(1, 1, torch.arange(50_000)).numpy().view(np.uint8)
    ones = np.unpackbits(bits.reshape(-1, 8), axis=1).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(50_000)


def test_settings_without_effect_are_refused() -> None:
    assert Views.of(ViewsConfig()) == Views(1, False, 0, 0)
    assert Views.of(ViewsConfig(num=4, flip=True, crop_padding=2, seed=9)) == Views(4, True, 2, 9)
    for config, field in (
        ({"flip": True}, "views.num: 1"),
        ({"crop_padding": 4}, "views.num: 1"),
        ({"num": 4}, "same"),
    ):
        with pytest.raises(UserError, match=field):
            Views.of(ViewsConfig(**config))


def test_a_border_wider_than_the_image_is_refused() -> None:
    VIEWS.check_size(8, 8)
    with pytest.raises(UserError, match=r"views.crop_padding: 4 .* 28x4"):
        VIEWS.check_size(28, 4)


def test_read_only_arrays_become_tensors_without_copy_or_warning() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = as_tensor(array)
    assert tensor.data_ptr() == array.ctypes.data
    assert torch.equal(tensor, torch.arange(24, dtype=torch.uint8).view(2, 3, 4))
