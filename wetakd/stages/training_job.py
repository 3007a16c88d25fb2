"""What one training is given: plain data, the same for a teacher, an assistant and a student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wetakd.config import DistillationConfig, ModelConfig, RecipeConfig, StudyConfig
from wetakd.data.views import Views
from wetakd.plan.study_plan import evenly
from wetakd.plan.trials import NetworkNode, Student, device_of
from wetakd.storage.addresses import network_address, student_address


@dataclass(frozen=True)
class TrainingJob:
    """All that determines one training, and where its result goes."""

    uid: str
    address: str
    payload: Mapping[str, Any] = field(repr=False)
    """What the key in `address` is the hash of."""
    model: ModelConfig
    recipe: RecipeConfig
    precision: str
    seed: int
    views: Views
    device: str
    store_uri: str = field(repr=False)  # may hold credentials, and Ray shows what a run is given
    checkpoint_s: float
    distillation: DistillationConfig | None = None
    weights_K: tuple[float, ...] = ()
    mixture: Literal["probabilities", "logits"] = "probabilities"
    stop_after: int | None = None


def network_job(node: NetworkNode, config: StudyConfig, store_uri: str) -> TrainingJob:
    """A teacher or an assistant, taught evenly by its teachers."""
    return TrainingJob(
        uid=node.uid,
        address=network_address(node.key),
        payload=node.payload,
        model=node.config.model,
        recipe=node.config.recipe,
        precision=node.precision,
        seed=node.seed,
        views=Views.of(config.views),
        device=device_of(node.config.placement),
        store_uri=store_uri,
        checkpoint_s=config.limits.checkpoint_s,
        distillation=node.distillation,
        weights_K=evenly(len(node.teachers)),
        mixture=config.weights.mixture,
    )


def student_job(student: Student, config: StudyConfig, store_uri: str, stop_after: int | None = None) -> TrainingJob:
    """A student, taught by its mixture; to the end, or to epoch `stop_after` for now."""
    return TrainingJob(
        uid=student.key,
        address=student_address(student.key),
        payload=student.payload,
        model=student.config.model,
        recipe=student.config.recipe,
        precision=student.precision,
        seed=student.seed,
        views=Views.of(config.views),
        device=device_of(student.config.placement),
        store_uri=store_uri,
        checkpoint_s=config.limits.checkpoint_s,
        distillation=student.config.distillation if student.cache_digests else None,
        weights_K=student.weights_K,
        mixture=config.weights.mixture,
        stop_after=stop_after,
    )
