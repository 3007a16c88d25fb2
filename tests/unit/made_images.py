"""Small real files of images, for the tests of the modules that read them."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wetakd.common.errors import UserError
from wetakd.config import DataConfig, ParquetData, SplitsConfig, TransformConfig
from wetakd.data.dataset import Dataset, load_dataset

SPLITS = SplitsConfig(weigh=0.2, choose=0.2, test=0.2)
GIVEN_TEST = SplitsConfig(weigh=0.2, choose=0.2)


def read(data: DataConfig, splits: SplitsConfig = SPLITS, **transform: Any) -> Dataset:
    return load_dataset(data, splits, TransformConfig(**transform), memory_share=0.5)


def refused(data: DataConfig, splits: SplitsConfig = SPLITS, **transform: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(data, splits, **transform)
    message = str(caught.value)
    assert "\n" not in message
    return message


def pictures(num: int, size: int = 6, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num, size, size, channels), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


def write_parquet(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    *,
    plain: bool = False,
    metadata: Mapping[str, str] | None = None,
    names: tuple[str, str] = ("img", "label"),
) -> str:
    column = pa.array(images, pa.binary()) if plain else pa.array([{"bytes": image, "path": None} for image in images])
    table = pa.table({names[0]: column, names[1]: pa.array(labels)})
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=7)
    return str(path)


def parquet(train: str, test: str | None = None, **more: Any) -> ParquetData:
    return ParquetData(source="parquet", train=train, test=test, **more)


def write_folder(root: Path, labels: Sequence[int], images: Sequence[bytes], names: str = "abc") -> str:
    for i, (label, image) in enumerate(zip(labels, images, strict=True)):
        path = root / names[label] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return str(root)


LABELS = [i % 3 for i in range(30)]
PIXELS = pictures(30)
PNGS = [png(pixels) for pixels in PIXELS]
