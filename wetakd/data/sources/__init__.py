"""Where images come from: one reader a private module, each giving an `ImageSource`.

Labels are read at once and images one after another, so that a mistake in labels or splits is found, and memory is
checked, before the first image is decoded.
"""

from __future__ import annotations

from wetakd.config import CallableData, CifarData, DataConfig, DigitsData, FolderData, ParquetData
from wetakd.data.sources._builtin import open_cifar, open_digits
from wetakd.data.sources._callable import open_callable
from wetakd.data.sources._folder import open_folder
from wetakd.data.sources._labelled_images import ImageSource, LabelledImages, StoredImage
from wetakd.data.sources._parquet import find_columns, open_parquet

__all__ = ["ImageSource", "LabelledImages", "StoredImage", "find_columns", "open_source"]


def open_source(data: DataConfig) -> ImageSource:
    """Find the images and read the labels of a `data` block.

    Raises:
        UserError: with field, file and row, for whatever is missing, unreadable or of the wrong kind.
    """
    match data:
        case DigitsData():
            return open_digits()
        case CifarData():
            return open_cifar(data)
        case ParquetData():
            return open_parquet(data)
        case FolderData():
            return open_folder(data)
        case CallableData():
            return open_callable(data)
