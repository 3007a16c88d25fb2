"""What a plan consists of: networks, arms, trials, searches and students."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wetakd.common.canonical_json import seed_of
from wetakd.config import (
    EMPTY_POINT,
    DistillationConfig,
    NetworkConfig,
    PlacementConfig,
    StudentConfig,
    SweepPoint,
)
from wetakd.config.controls import CONTROLS


def device_of(placement: PlacementConfig) -> str:
    """The torch device that a worker with this placement trains on."""
    return "cuda" if placement.gpus > 0 else "cpu"


@dataclass(frozen=True)
class NetworkNode:
    """One network of one replicate: a node of the graph. Imported networks have no precision (an empty text)."""

    name: str
    replicate: int
    seed: int
    config: NetworkConfig
    precision: str
    key: str
    teachers: tuple[str, ...]
    payload: Mapping[str, Any] = field(repr=False, compare=False)
    """What `key` is the hash of."""

    @property
    def uid(self) -> str:
        """Names this node within the study."""
        return f"network:{self.replicate}:{self.name}"

    @property
    def distillation(self) -> DistillationConfig | None:
        """What it minimises beside the labels' cross-entropy; None for a network without teachers."""
        return self.config.distillation if self.teachers else None


@dataclass(frozen=True)
class Arm:
    """One recipe under comparison: how the weights are set, over which networks, at which swept point."""

    strategy: str
    assistants: tuple[str, ...]
    point: SweepPoint = EMPTY_POINT

    @property
    def label(self) -> str:
        """Short name, such as `de ta8+ta6`."""
        named = f"{self.strategy} {'+'.join(self.assistants)}".strip()
        return named if self.point.is_empty else f"{named} {self.point.to_json()}"

    @property
    def is_searched(self) -> bool:
        """Whether its weights come from a strategy rather than being given by what the control is."""
        return self.strategy not in CONTROLS


@dataclass(frozen=True)
class Trial:
    """One student to train: an arm, a replicate and a seed."""

    arm: Arm
    replicate: int
    seed: int

    @property
    def uid(self) -> str:
        """Names this trial within the study."""
        return f"trial:{self.arm.label}:{self.replicate}:{self.seed}"

    @property
    def student_seed(self) -> int:
        """Seed of initial weights and data order: the same for every arm, new for every replicate."""
        return seed_of("student", self.replicate, self.seed)


@dataclass(frozen=True)
class Search:
    """One search for ensemble weights."""

    strategy: str
    assistants: tuple[str, ...]
    replicate: int
    seed: int
    key: str
    payload: Mapping[str, Any] = field(repr=False, compare=False)
    """What `key` is the hash of."""


@dataclass(frozen=True)
class PoolContributions:
    """One computation of what each network of the pool adds to the ensemble."""

    replicate: int
    key: str
    payload: Mapping[str, Any] = field(repr=False, compare=False)
    """What `key` is the hash of."""


@dataclass(frozen=True)
class Student:
    """What determines one student: the recipe and the mixture that teaches it (no teachers: labels alone)."""

    key: str
    config: StudentConfig
    precision: str
    seed: int
    cache_digests: tuple[str, ...]
    """SHA-256 of the logit caches of its K teachers."""
    weights_K: tuple[float, ...]
    payload: Mapping[str, Any] = field(repr=False, compare=False)
    """What `key` is the hash of."""
