"""What is recorded with the weights of a network: teacher, assistant and student alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from wetakd.storage.manifest import Manifest
from wetakd.training.epoch import Epoch


@dataclass(frozen=True)
class TrainingProvenance:
    """What a training ran with, beside its recipe."""

    seed: int
    precision: str
    torch: str
    numpy: str
    hardware: str


@dataclass(frozen=True)
class TrainingFacts:
    """The facts of a finished network, in its manifest."""

    epochs: tuple[Epoch, ...]
    """Empty for a network that was imported."""
    train_seconds: float
    parameters: int | None
    """None, as `macs`, where only logits were imported."""
    macs: int | None
    data: str
    """Fingerprint of the images."""
    provenance: TrainingProvenance | None = None
    """None for a network that was imported."""

    def to_dict(self) -> dict[str, Any]:
        """As a manifest keeps them."""
        return {
            "epochs": [epoch.to_dict() for epoch in self.epochs],
            "train_seconds": self.train_seconds,
            "parameters": self.parameters,
            "macs": self.macs,
            "data": self.data,
            **(asdict(self.provenance) if self.provenance is not None else {}),
        }

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> Self:
        """The reverse of `to_dict`."""
        facts = dict(manifest.facts)
        epochs = tuple(Epoch.from_dict(epoch) for epoch in facts.pop("epochs"))
        own = {name: facts.pop(name) for name in ("train_seconds", "parameters", "macs", "data")}
        return cls(epochs, **own, provenance=TrainingProvenance(**facts) if facts else None)
