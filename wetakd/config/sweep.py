"""Swept fields of the student: the points that a study compares, and whether each is a valid student."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from wetakd.common.canonical_json import seed_of
from wetakd.config.network_config import DistillationConfig, RecipeConfig, StudentConfig
from wetakd.config.sweep_point import SweepPoint
from wetakd.config.validation_messages import error_message

if TYPE_CHECKING:
    from wetakd.config.study_block import StudyBlock, Sweep

_BLOCKS: Mapping[str, type[BaseModel]] = {
    "student.recipe": RecipeConfig,
    "student.distillation": DistillationConfig,
}


def sweep_points(study: StudyBlock) -> list[SweepPoint]:
    """Every combination of swept values, in a fixed order."""
    sweep = study.sweep
    grids = [[(path, value) for value in s.grid] for path, s in sweep.items() if s.grid is not None]
    drawn = {path: s for path, s in sweep.items() if s.grid is None}
    draws = [_draw(drawn, i) for i in range(study.sweep_samples)] if drawn else [{}]
    points = [{**dict(chosen), **draw} for chosen in itertools.product(*grids) for draw in draws]
    return list(dict.fromkeys(SweepPoint.of(values) for values in points))


def _draw(sweeps: Mapping[str, Sweep], index: int) -> dict[str, float]:
    """One draw of every swept distribution, from a stream of its own so that adding a field moves no other."""
    import numpy as np

    values = {}
    for path, sweep in sweeps.items():
        unit = np.random.default_rng(seed_of("sweep", path, index)).random()
        if sweep.uniform is not None:
            low, high = sweep.uniform
            values[path] = float(low + unit * (high - low))
        elif sweep.loguniform is not None:
            low, high = np.log(sweep.loguniform)
            values[path] = float(np.exp(low + unit * (high - low)))
    return values


def student_at(student: StudentConfig, point: SweepPoint) -> StudentConfig:
    """The student's block with the values of a point; raises ValidationError where they are not valid together."""
    tree = student.model_dump(mode="json")
    for path, value in point.values.items():
        block, field = _split(path)
        tree[block.removeprefix("student.")][field] = value
    return StudentConfig.model_validate(tree)


def check_sweep(study: StudyBlock, student: StudentConfig) -> None:
    """Raise ValueError for a swept field that does not exist, a value that it cannot have, or an invalid point."""
    for path, sweep in study.sweep.items():
        block, field = _split(path)
        if block not in _BLOCKS:
            raise ValueError(f"study.sweep.{path}: only student.recipe.* and student.distillation.* can be swept")
        known = _BLOCKS[block].model_fields
        if field not in known:
            raise ValueError(f"study.sweep.{path}: is not a known field; {block} has {', '.join(known)}")
        for place, value in _values_of(sweep):
            if (wrong := _block_error(student, block, {field: value}, alone=True)) is not None:
                raise ValueError(f"study.sweep.{path}.{place}: {wrong}")
    _check_points(study, student)


def _check_points(study: StudyBlock, student: StudentConfig) -> None:
    """Each block has rules of its own, so each distinct part of a point is checked once."""
    checked = set()
    for point in sweep_points(study) if study.sweep else ():
        for block in _BLOCKS:
            part = {path: value for path, value in point.values.items() if _split(path)[0] == block}
            text = json.dumps(part)
            if not part or text in checked:
                continue
            checked.add(text)
            wrong = _block_error(student, block, {_split(path)[1]: value for path, value in part.items()})
            if wrong is not None:
                raise ValueError(f"study.sweep: the point {text} is not a valid student: {wrong}")


def _block_error(student: StudentConfig, block: str, values: Mapping[str, Any], *, alone: bool = False) -> str | None:
    """What is wrong with a block that has these values; `alone`: with the values, whatever the other fields are."""
    base: BaseModel = getattr(student, block.removeprefix("student."))
    try:
        _BLOCKS[block].model_validate({**base.model_dump(), **values})
    except ValidationError as error:
        errors = error.errors(include_url=False)
        if alone and not errors[0]["loc"]:
            return None  # a rule between fields, each of which may be swept
        head = "" if alone or not errors[0]["loc"] else f"{errors[0]['loc'][0]}: "
        return head + error_message([each for each in errors if each["loc"] == errors[0]["loc"]])
    return None


def _values_of(sweep: Sweep) -> Iterator[tuple[str, Any]]:
    """The values that a sweep names, each with its place: of a distribution its ends."""
    for name in ("grid", "uniform", "loguniform"):
        for place, value in enumerate(getattr(sweep, name) or ()):
            yield f"{name}.{place}", value


def _split(path: str) -> tuple[str, str]:
    """Block and field of a swept path."""
    start, _, rest = path.partition(".")
    block, _, field = rest.partition(".")
    return f"{start}.{block}", field
