"""The study file that `wetakd init` writes: `study_template.yaml`, filled in for the images that were found."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from wetakd.common.redact import redact
from wetakd.data.source_detection import ImageSummary

_FEW_IMAGES = 5000


def study_name(place: str) -> str:
    """A name for a study of what lies at `place`."""
    last = re.split(r"[/:]", redact(place).partition("?")[0].rstrip("/").removesuffix(".parquet"))[-1]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-_")[:62] or "mine"


def study_text(place: str, found: ImageSummary, name: str, file: str) -> str:
    """The text of a study file for the images that `summarise_images` found."""
    small = found.side < 16
    family, depths = ("plain", (10, 8, 6, 4, 2)) if small else ("resnet", (56, 32, 20, 14, 8))
    text = files("wetakd.commands").joinpath("study_template.yaml").read_text(encoding="utf-8")
    num_fit = 0.6 * found.num_images
    return string.Template(text).substitute(
        place=place,
        file=file,
        name=name,
        data=_yaml_block(found.data),
        share="0.15" if found.num_images < _FEW_IMAGES else "0.1",
        test="  # test: 0.2           # the source has a test set" if found.has_test else "  test: 0.2",
        transform=_transform(found),
        more=3,
        views=4,
        padding=1 if small else 4,
        flip=json.dumps(not found.is_grey),
        family=family,
        teacher=depths[0],
        student=depths[-1],
        epochs=10 if small else 30,
        batch=64 if num_fit < 20_000 else 128,
        lr=0.05 if small else 0.1,
        assistants="\n".join(_assistant(family, depth) for depth in depths[1:-1]),
    )


def _yaml_block(values: Mapping[str, Any]) -> str:
    # JSON is YAML: whatever stands in a path stays in its quotes.
    return "\n".join(f"  {field}: {json.dumps(value, ensure_ascii=False)}" for field, value in values.items())


def _transform(found: ImageSummary) -> str:
    size = f"  size: {found.size}              # pixels, square; " if found.size else "  # size: 32            # "
    why = "the images differ in size or are large" if found.size else "all images have one size already"
    return f"{size}{why}\n  channels: {found.channels}        # grey, rgb, or what the first image has"


def _assistant(family: str, depth: int) -> str:
    return f"  ta{depth}:\n    model: {{name: {family}, options: {{depth: {depth}}}}}\n    recipe: *recipe"
