"""From any Pillow image to uint8 CHW, and on to float32."""

import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wetakd.common.errors import UserError
from wetakd.config import TransformConfig
from wetakd.data.transform import Transform, resolve_transform, with_statistics


def transform(size: int = 4, channels: int = 3, background: int = 255) -> Transform:
    return Transform(size, size, channels, background, (0.5,) * channels, (0.25,) * channels)


def reopened(image: Image.Image, kind: str = "PNG", **options: object) -> Image.Image:
    """The image after a trip through a real file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue()))


RAMP = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17


def test_rgb_and_grey_pass_through_untouched() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    prepared = transform().prepare(reopened(Image.fromarray(rgb)))
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, rgb.transpose(2, 0, 1))
    np.testing.assert_array_equal(transform(channels=1).prepare(reopened(Image.fromarray(RAMP))), RAMP[None])


def test_grey_becomes_rgb_and_rgb_becomes_grey() -> None:
    np.testing.assert_array_equal(transform().prepare(Image.fromarray(RAMP)), np.stack([RAMP] * 3))
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    assert (transform(channels=1).prepare(red) == 76).all()  # ITU-R 601 luma


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    deep = RAMP.astype(np.uint16) * 257
    assert deep.max() == 65535
    image = reopened(Image.fromarray(deep), kind)
    np.testing.assert_array_equal(transform(channels=1).prepare(image), RAMP[None])


@pytest.mark.parametrize("background", [0, 100, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_the_background(mode: str, background: int) -> None:
    image = Image.new(mode, (4, 4), (10, 10, 10, 0) if mode == "RGBA" else (10, 0))
    image.putpixel((0, 0), (40, 40, 40, 255) if mode == "RGBA" else (40, 255))
    prepared = transform(background=background).prepare(reopened(image))
    assert prepared[:, 0, 0].tolist() == [40] * 3
    assert (prepared[:, 1:] == background).all()


def test_half_transparent_pixels_are_mixed() -> None:
    prepared = transform(background=200).prepare(Image.new("RGBA", (4, 4), (0, 0, 0, 128)))
    assert np.abs(prepared.astype(int) - 100).max() <= 1


def test_transparency_that_stands_in_the_file_header_counts() -> None:
    palette = Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).convert("P")
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.putpixel((0, 0), 1)
    image = reopened(palette, transparency=0)
    assert image.mode == "P"
    prepared = transform(background=77).prepare(image)
    assert prepared[:, 0, 0].tolist() == [200, 0, 0]
    assert (prepared[:, 1:] == 77).all()
    grey = reopened(Image.fromarray(RAMP), transparency=0)
    assert transform(channels=1, background=77).prepare(grey)[0, 0, 0] == 77


def test_palettes_one_bit_and_cmyk_are_converted() -> None:
    palette = Image.new("RGB", (4, 4), (200, 100, 50)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert transform().prepare(palette)[:, 0, 0].tolist() == [200, 100, 50]
    assert (transform(channels=1).prepare(Image.new("1", (4, 4), 1)) == 255).all()
    cmyk = reopened(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=95)
    assert cmyk.mode == "CMYK"
    red, green, blue = transform().prepare(cmyk)[:, 0, 0].astype(int)
    assert red > 220
    assert max(green, blue) < 40


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_pixels_without_a_standard_reading_are_refused(mode: str) -> None:
    with pytest.raises(UserError, match=f"Pillow mode {mode}"):
        transform().prepare(Image.new(mode, (4, 4)))


def test_the_orientation_tag_is_obeyed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    prepared = transform(channels=1).prepare(reopened(Image.fromarray(RAMP), exif=exif))
    np.testing.assert_array_equal(prepared[0], np.rot90(RAMP, -1))


def test_resizing_ends_at_height_by_width() -> None:
    wide = Transform(5, 9, 3, 255, (0.0,) * 3, (1.0,) * 3)
    assert wide.prepare(Image.new("RGB", (31, 17), (7, 8, 9))).shape == (3, 5, 9)
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (64, 32))
    shrunk = transform(4, channels=1).prepare(Image.fromarray(stripes))
    assert np.abs(shrunk.astype(int) - 127).max() < 16  # antialiased: not just some of the stripes


def test_normalise_follows_its_formula_and_leaves_its_input_alone() -> None:
    described = Transform(2, 2, 3, 0, (0.1, 0.5, 0.9), (0.2, 0.3, 0.4))
    images = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2) * 10
    before = images.clone()
    normal = described.normalise(images)
    expected = (images.double() / 255 - torch.tensor(described.mean).view(3, 1, 1)) / torch.tensor(described.std).view(
        3, 1, 1
    )
    assert normal.dtype == torch.float32
    torch.testing.assert_close(normal.double(), expected, rtol=1e-5, atol=1e-6)
    described.normalise(images.float()).zero_()
    assert torch.equal(images, before)


def test_json_gives_back_the_same_transform() -> None:
    described = Transform(3, 4, 3, 9, (0.1, 1 / 3, 0.7), (0.2, 0.3, 0.4))
    assert Transform.from_dict(json.loads(json.dumps(described.to_dict()))) == described


@pytest.mark.parametrize(
    ("mode", "wanted", "channels"),
    [
        ("L", "keep", 1),
        ("I;16", "keep", 1),
        ("LA", "keep", 1),
        ("P", "keep", 3),
        ("RGBA", "keep", 3),
        ("L", "rgb", 3),
        ("RGB", "grey", 1),
    ],
)
def test_resolve_takes_channels_and_size_of_the_first_image(mode: str, wanted: str, channels: int) -> None:
    resolved = resolve_transform(TransformConfig(channels=wanted), Image.new(mode, (7, 5)))
    assert (resolved.height, resolved.width, resolved.channels) == (5, 7, channels)
    assert len(resolved.mean) == len(resolved.std) == channels


def test_resolve_prefers_the_size_of_the_file() -> None:
    first = Image.new("RGB", (7, 5))
    assert resolve_transform(TransformConfig(size=16), first).to_dict()["width"] == 16
    resolved = resolve_transform(TransformConfig(size=(8, 16)), first)
    assert (resolved.height, resolved.width) == (8, 16)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mean": (0.5,)}, r"transform.mean: \[0.5\] has 1 values for 3 channels"),
        ({"std": (0.5, 0.5)}, r"transform.std: .* 2 values for 3 channels"),
        ({"mean": (125.0, 125.0, 125.0)}, r"transform.mean: .* within 0..1"),
        ({"std": (60.0, 60.0, 60.0)}, r"transform.std: .* within 1e-06..1"),
        ({"size": (0, 8)}, r"transform.size: \[0, 8\] must lie within 4..1024"),
        ({"size": (8, 100_000)}, r"transform.size: \[8, 100000\]"),
    ],
)
def test_resolve_names_the_field_that_does_not_fit(config: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve_transform(TransformConfig(**config), Image.new("RGB", (8, 8)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), num=st.integers(1, 30), channels=st.sampled_from([1, 3]))
def test_auto_statistics_are_those_of_the_given_images(seed: int, num: int, channels: int) -> None:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (40, channels, 3, 3), dtype=np.uint8)
    ids = np.sort(generator.permutation(40)[:num])
    found = with_statistics(transform(3, channels), TransformConfig(), images, ids)
    chosen = images[ids].astype(np.float64) / 255
    np.testing.assert_allclose(found.mean, chosen.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(found.std, chosen.std(axis=(0, 2, 3)))


def test_given_statistics_stay_and_a_constant_channel_is_not_divided_by_zero() -> None:
    images = np.full((4, 1, 2, 2), 51, dtype=np.uint8)
    config = TransformConfig(mean=(0.3,))
    start = resolve_transform(config, Image.new("L", (2, 2)))
    found = with_statistics(start, config, images, np.arange(4))
    assert (found.mean, found.std) == ((0.3,), (1.0,))
    both = TransformConfig(mean=(0.3,), std=(0.4,))
    assert with_statistics(resolve_transform(both, Image.new("L", (2, 2))), both, images, np.arange(4)).std == (0.4,)
