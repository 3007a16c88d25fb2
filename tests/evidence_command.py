"""The command line of `benchmarks/evidence.py` for a study of a minute, and the images that it reads."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NETWORK = "{name: plain, options: {depth: 2}}"
SMALL = [
    *(f"{name}.model={NETWORK}" for name in ("teacher", "assistants.ta8", "assistants.ta6", "assistants.ta4")),
    *(f"{name}.recipe.epochs=2" for name in ("teacher", "assistants.ta8", "assistants.ta6", "assistants.ta4")),
    *(f"{name}.recipe.warmup_epochs=1" for name in ("teacher", "assistants.ta8", "assistants.ta6", "assistants.ta4")),
    "student.recipe.epochs=2",
    "student.recipe.warmup_epochs=1",
    "study.seeds=2",
    "study.strategies=[uniform, de]",
    "study.controls=[none]",
    "views.num=2",
]


def write_images(folder):
    """160 noise images of 16x16 and 4 classes to learn from, 40 to judge on."""
    rng = np.random.default_rng(0)
    for part, num in (("train", 160), ("test", 40)):
        images = [Image.fromarray(pixels) for pixels in rng.integers(0, 256, (num, 16, 16, 3), dtype=np.uint8)]
        rows = [{"bytes": png(image)} for image in images]
        pq.write_table(pa.table({"img": rows, "label": np.arange(num) % 4}), folder / f"{part}.parquet")
    return folder


def png(image):
    image.save(raw := io.BytesIO(), format="png")
    return raw.getvalue()


def command(data, out, *more):
    return [str(data), str(out), "--processes", "1", *(f"--set={setting}" for setting in SMALL), *more]
