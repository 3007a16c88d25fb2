"""What `precision: auto` stands for in a study: resolved once, recorded, and used again whenever the study goes on.

Results depend on the precision, so it must not change because a study is resumed on another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.config import STUDENT, PlacementConfig, StudyConfig, student_at, sweep_points
from wetakd.plan.trials import device_of
from wetakd.storage.addresses import study_path
from wetakd.storage.atomic_store import Store
from wetakd.training.precision_speed import MIN_SPEEDUP, bfloat16_speedup

AUTO = "auto"
_PRECISION_FILE = "precision.json"


@dataclass(frozen=True)
class ResolvedPrecision:
    """The precision of one network or of the students, and the kind of device that it was chosen for."""

    device: str
    """A type of torch device: `cpu` or `cuda`."""
    precision: str
    """`float32` or `bfloat16`."""


Precisions = Mapping[str, ResolvedPrecision]
"""By name of the network, or `student`."""


def auto_placements(config: StudyConfig) -> dict[str, PlacementConfig]:
    """The placement of each network (by name), and of `student`, whose precision is to be resolved."""
    found = {
        name: network.placement
        for name, network in config.networks.items()
        if network.recipe.precision == AUTO and not network.is_imported
    }
    students = [student_at(config.student, point) for point in sweep_points(config.study)]
    if any(student.recipe.precision == AUTO for student in students):
        found[STUDENT] = config.student.placement
    return found


def choose_precisions(
    config: StudyConfig, is_faster: Callable[[PlacementConfig], bool]
) -> dict[str, ResolvedPrecision]:
    """bfloat16 for each `auto` whose placement `is_faster` with it, else float32; each placement is measured once."""
    placements = auto_placements(config)
    distinct: list[PlacementConfig] = []
    for placement in placements.values():
        if placement not in distinct:
            distinct.append(placement)
    faster = [placement for placement in distinct if is_faster(placement)]
    return {
        name: ResolvedPrecision(device_of(placement), "bfloat16" if placement in faster else "float32")
        for name, placement in placements.items()
    }


def unmeasured_precisions(config: StudyConfig) -> dict[str, ResolvedPrecision]:
    """`float32` for every `auto`: for the checks that come before a measurement."""
    return choose_precisions(config, lambda placement: False)


def resolve_precisions_here(config: StudyConfig) -> dict[str, ResolvedPrecision]:
    """What `auto` stands for, measured on this machine alone; what needs a GPU is taken to be faster in bfloat16."""
    is_cpu_faster = cache(lambda: bfloat16_speedup("cpu") >= MIN_SPEEDUP)
    return choose_precisions(config, lambda placement: device_of(placement) != "cpu" or is_cpu_faster())


def recorded_or_resolved_here(store: Store, config: StudyConfig) -> dict[str, ResolvedPrecision]:
    """What is recorded for the study, else what this machine measures: for commands that need no cluster."""
    recorded = read_precisions(store, config)
    return resolve_precisions_here(config) if recorded is None else recorded


def read_precisions(store: Store, config: StudyConfig) -> dict[str, ResolvedPrecision] | None:
    """What is recorded for the study; None where something has no record yet, and must be resolved."""
    raw = store.read_file(study_path(config.study.name, _PRECISION_FILE))
    try:
        recorded = {name: ResolvedPrecision(**entry) for name, entry in load_with_digest(raw or b"").items()}
    except (ValueError, TypeError):  # none yet, or damaged
        recorded = {}
    asked = auto_placements(config)
    return {name: recorded[name] for name in asked} if asked.keys() <= recorded.keys() else None


def write_precisions(store: Store, config: StudyConfig, precisions: Precisions) -> None:
    """Record what was resolved."""
    content = {name: asdict(resolved) for name, resolved in precisions.items()}
    store.write(study_path(config.study.name, _PRECISION_FILE), dump_with_digest(content))
