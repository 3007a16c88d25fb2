"""What became of a network or a student: trained, stopped early, or failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from wetakd.plan.trials import NetworkNode, Student
from wetakd.storage.manifest import Manifest
from wetakd.storage.training_facts import TrainingFacts
from wetakd.training.epoch import Epoch

if TYPE_CHECKING:
    import ray


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A node that is done: its manifest and its logit cache in the object store, or the reason why there is none."""

    node: NetworkNode
    trained: bool = False
    manifest: Manifest | None = None
    cache_ref: ray.ObjectRef[pa.Table] | None = None
    cache_digest: str | None = None
    """SHA-256 of its logit cache as it is stored."""
    error: str | None = None

    @cached_property
    def facts(self) -> TrainingFacts | None:
        """What its manifest records; None where it failed."""
        return None if self.manifest is None else TrainingFacts.from_manifest(self.manifest)

    @property
    def ref(self) -> ray.ObjectRef[pa.Table]:
        """Its logit cache; only for a network that did not fail."""
        assert self.cache_ref is not None, f"{self.node.uid} has no logit cache"
        return self.cache_ref


Networks = Mapping[tuple[int, str], TrainedNetwork]
"""Teachers and assistants by (replicate, name)."""


def cache_digests(networks: Networks) -> dict[tuple[int, str], str]:
    """SHA-256 of the logit caches of the networks that did not fail, by (replicate, name)."""
    return {place: network.cache_digest for place, network in networks.items() if network.cache_digest is not None}


@dataclass(frozen=True)
class TrainedStudent:
    """A student that is done, stopped early, or failed."""

    student: Student
    trained: bool = False
    manifest: Manifest | None = None
    stopped_epochs: tuple[Epoch, ...] = ()
    """The epochs of a student that was stopped before its last one."""
    error: str | None = None

    @property
    def stopped_at(self) -> Epoch | None:
        """The epoch at which it was stopped; None where it was not."""
        return self.stopped_epochs[-1] if self.stopped_epochs else None

    @cached_property
    def facts(self) -> TrainingFacts | None:
        """What its manifest records; None where it has none."""
        return None if self.manifest is None else TrainingFacts.from_manifest(self.manifest)

    def accuracy_at(self, epoch: int) -> float:
        """Accuracy on `choose` at an epoch, or at the last one where it has fewer; -1 for a student that failed."""
        if self.facts is not None:
            epochs = self.facts.epochs
            return epochs[min(epoch, len(epochs)) - 1].choose_accuracy
        return self.stopped_at.choose_accuracy if self.stopped_at is not None else -1.0
