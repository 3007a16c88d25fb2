"""Opening encoded images, which may come from anywhere: no image may have more pixels than Pillow's limit."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

# The warning is raised where warnings are errors. Elsewhere callers silence it: to do so here, in threads, is not safe.
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def open_image(stored: bytes | Path) -> Image.Image:
    """The image of a file or of its bytes; only its header is read.

    Raises:
        ValueError: more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, for which Pillow alone would only warn.
        Exception: whatever Pillow raises for bytes that are not an image.
    """
    try:
        image = Image.open(BytesIO(stored) if isinstance(stored, bytes) else stored)
    except _BOMB:
        raise _too_large() from None
    _check_size(image)
    return image


def decode_image(stored: bytes | Path) -> Image.Image:
    """As `open_image`, with its pixels decoded. Some formats state their size only in what is decoded."""
    image = open_image(stored)
    try:
        image.load()
    except _BOMB:
        raise _too_large() from None
    _check_size(image)
    return image


def _check_size(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise _too_large()


def _too_large() -> ValueError:
    return ValueError(
        f"it has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels, Pillow's limit (PIL.Image.MAX_IMAGE_PIXELS), and "
        "may be a decompression bomb; make it smaller"
    )
