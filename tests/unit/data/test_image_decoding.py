"""Images with more pixels than Pillow's limit are refused by file and limit, wherever images are decoded."""

import struct
import warnings
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.bad_input.wrong_input import call
from tests.unit.made_images import LABELS, PNGS, parquet, refused, write_folder, write_parquet
from wetakd.config import FolderData
from wetakd.data.image_decoding import decode_image, open_image

LIMIT = Image.MAX_IMAGE_PIXELS
assert LIMIT is not None


def header(width: int, height: int) -> bytes:
    """The start of a PNG that says it is that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    begin = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + begin + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


# Just above the limit, where Pillow alone warns; the largest that it warns for; and above, where it raises.
BOMBS = {"1x": (LIMIT // 9000 + 1, 9000), "2x": (2 * LIMIT // 10_000, 10_000), "2.5x": (15_000, 15_000)}


@pytest.mark.parametrize("size", BOMBS.values(), ids=BOMBS)
def test_a_folder_names_the_file_and_the_limit(size: tuple[int, int], tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", LABELS, [*PNGS[:-1], header(*size)])
    message = refused(FolderData(source="folder", train=root), size=8)
    assert message.startswith(f"data.train: {root}/c/029.png cannot be decoded as an image: ")
    assert f"more than {LIMIT:,} pixels" in message


@pytest.mark.parametrize("size", BOMBS.values(), ids=BOMBS)
def test_parquet_names_the_row_and_the_limit(size: tuple[int, int], tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [*PNGS[:-1], header(*size)], LABELS)
    message = refused(parquet(path), size=8)
    assert message.startswith(f"data.train: row 29 of '{path}' cannot be decoded as an image: ")
    assert f"more than {LIMIT:,} pixels" in message


@pytest.mark.parametrize("size", BOMBS.values(), ids=BOMBS)
def test_init_names_the_file_and_the_limit(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "d", LABELS, [header(*size), *PNGS[1:]])
    code, out, complaint = call("init", "d")
    assert (code, out, complaint.count("\n")) == (2, "", 1)
    assert complaint.startswith("wetakd: data.train: d/a/000.png cannot be read: ")
    assert f"more than {LIMIT:,} pixels" in complaint


def test_the_limit_itself_is_allowed_and_nothing_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 36)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_image(PNGS[0]).size == (6, 6)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 35)
        for read in (open_image, decode_image):
            with pytest.raises(ValueError, match="more than 35 pixels"):
                read(PNGS[0])
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        assert decode_image(PNGS[0]).size == (6, 6)
