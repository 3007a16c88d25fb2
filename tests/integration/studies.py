"""Studies so small that networks train in a moment, and what their results are compared with."""

from typing import Any

import numpy as np
import ray
import torch
from torch import nn

from tests.unit import tiny
from wetakd import bank, training_job
from wetakd.config import StudyConfig
from wetakd.data import Dataset
from wetakd.networks import address, train_networks
from wetakd.plan import NetworkNode, Plan
from wetakd.storage import Store
from wetakd.study_file import check
from wetakd.views import Views

PLAIN = {"name": "plain", "options": {"depth": 2}}
RECIPE = {"epochs": 2, "batch_size": 8, "lr": 0.05, "precision": "float32"}
NET = {"model": PLAIN, "recipe": RECIPE}


def without_statistics(num_classes: int, in_channels: int) -> nn.Module:
    """No batch norm: two workers with half a batch each then learn what one learns from the whole."""
    return nn.Sequential(nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))


def study(**blocks: Any) -> StudyConfig:
    """Teacher and one assistant; `blocks` of the study file replace or add."""
    tree = {
        "study": {"name": "tiny", "seeds": 1, "strategies": ["uniform"]},
        "data": {"source": "digits"},
        "views": {"num": 2, "flip": True},
        "teacher": NET,
        "assistants": {"first": NET},
        "student": NET,
    }
    return check(tree | blocks)


def plan(tmp_path: Any, data: Dataset | None = None, **blocks: Any) -> tuple[Plan, Store]:
    return Plan(study(**blocks), data or tiny.dataset()), Store(str(tmp_path))


def train(made: Plan, store: Store, heard: list[Any] | None = None) -> dict[str, Any]:
    """Train the networks of a plan; by name."""
    told = [] if heard is None else heard
    networks = train_networks(made, store, ray.put(made.dataset), lambda uid, epoch: told.append((uid, epoch)))
    return {name: network for (_, name), network in networks.items()}


def weights(store: Store, node: NetworkNode, data: Dataset) -> dict[str, torch.Tensor]:
    manifest = store.find(address(node.key))
    assert manifest is not None
    return training_job.load_model(store, manifest, node.config.model, data).state_dict()


def trained_here(made: Plan, store: Store, node: NetworkNode, teacher_tables: Any = ()) -> training_job.TrainingJob:
    """Train a node in this process into another storage; returns the job."""
    job = training_job.TrainingJob(
        uid="here",
        address=address(node.key),
        model=node.config.model,
        recipe=node.config.recipe,
        precision=node.precision,
        seed=node.seed,
        views=Views.of(made.config.views),
        device="cpu",
        store_uri=store.uri,
        checkpoint_s=1000.0,
        distillation=node.distillation,
        weights_K=(1 / len(teacher_tables),) * len(teacher_tables) if teacher_tables else (),
    )
    list(training_job.run(job, made.dataset, teacher_tables))
    return job


def logits(table: Any) -> np.ndarray:
    rows: np.ndarray = bank.view(table).fit_VNC
    return rows
