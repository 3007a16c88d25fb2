"""What a network costs to run, and what a study cost to run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkCost:
    """What a network costs where it runs."""

    parameters: int
    macs: int
    """Multiply-accumulates of one image."""
    bytes: int
    """Of its parameters and buffers."""
    latency_ms: float | None = None
    """Median of one image on one thread of the CPU that reported on the study, where it was measured."""


@dataclass(frozen=True)
class StudyCost:
    """What a study took: training and searching (however often it was resumed), and what its logit cache saved."""

    network_core_seconds: float
    """CPUs that were asked for, times seconds of training."""
    search_core_seconds: float
    student_core_seconds: float
    bank_passes: int
    """Images through teachers and assistants for the logit cache, each once."""
    usual_passes: int
    """The same for the same students in a loop that asks the networks anew at every step."""
    network_gpu_seconds: float | None = None
    """GPUs that were asked for, times seconds of training; None where no placement of the study has GPUs."""
    student_gpu_seconds: float | None = None
