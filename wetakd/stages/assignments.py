"""From the plan to training jobs: where a network or a student lies, and what whoever trains it is told."""

from __future__ import annotations

from wetakd.config import StudyConfig
from wetakd.data.views import Views
from wetakd.plan.study_plan import NetworkNode, Student, device_of, evenly
from wetakd.stages.training_job import TrainingJob


def network_address(key: str) -> str:
    """Where the network `key` lies on storage."""
    return f"networks/{key}"


def student_address(key: str) -> str:
    """Where the student `key` lies on storage."""
    return f"students/{key}"


def network_job(node: NetworkNode, config: StudyConfig, store_uri: str) -> TrainingJob:
    """A teacher or an assistant, taught evenly by its teachers."""
    return TrainingJob(
        uid=node.uid,
        address=network_address(node.key),
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
        model=student.config.model,
        recipe=student.config.recipe,
        precision=student.precision,
        seed=student.seed,
        views=Views.of(config.views),
        device=device_of(student.config.placement),
        store_uri=store_uri,
        checkpoint_s=config.limits.checkpoint_s,
        distillation=student.config.distillation if student.teacher_keys else None,
        weights_K=student.weights_K,
        mixture=config.weights.mixture,
        stop_after=stop_after,
    )
