"""The data sets that need no path: digits of scikit-learn, and CIFAR of torchvision."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

import numpy as np

from wetakd.common.errors import UserError
from wetakd.config import CifarData
from wetakd.data.sources._labelled_images import ImageSource, images_in_memory


def open_digits() -> ImageSource:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return ImageSource(
        images_in_memory("data", pixels, digits.target), None, tuple(str(n) for n in digits.target_names)
    )


def open_cifar(data: CifarData) -> ImageSource:
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = CIFAR10 if data.source == "cifar10" else CIFAR100
    try:
        with redirect_stdout(StringIO()):
            train, test = (kind(data.root, train=flag, download=data.download) for flag in (True, False))
    except (RuntimeError, OSError, EOFError) as error:
        if data.download:
            raise UserError(
                f"data.download: {data.source} could not be fetched into {data.root!r} ({error})"
            ) from error
        raise UserError(
            f"data.root: {data.root!r} holds no intact {data.source} files; set data.download: true on a machine with "
            f"a network, or put {kind.filename} there, unpacked"
        ) from error
    parts = [images_in_memory("data", part.data, np.asarray(part.targets)) for part in (train, test)]
    return ImageSource(parts[0], parts[1], tuple(train.classes))
