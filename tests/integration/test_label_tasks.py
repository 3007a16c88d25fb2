"""Weight searches and tests of ensembles get labels and stored logits, never images."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import ray

from tests.integration import tiny_studies
from tests.integration.tiny_studies import NET, plan
from tests.unit import tiny
from wetakd.cluster.heartbeat import HeartbeatAddress
from wetakd.data.dataset import Dataset
from wetakd.logits import logit_cache
from wetakd.plan.outcomes import TrainedNetwork
from wetakd.plan.trials import Trial
from wetakd.stages.evaluation import evaluate_ensembles, evaluate_networks
from wetakd.stages.searches import search_weights

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]


def with_pixels(side: int) -> Dataset:
    """The tiny data set, its images `side` x `side`; labels and splits stay."""
    data = tiny.dataset()
    images = np.zeros((len(data.labels_N), 1, side, side), np.uint8)
    images.flags.writeable = False
    return replace(data, images_NCHW=images, transform=replace(data.transform, height=side, width=side))


def _values(argument: Any) -> Any:
    """References as their values; tables of logits as their bytes."""
    if isinstance(argument, ray.ObjectRef):
        return ray.get(argument)
    if isinstance(argument, list):
        return [ray.get(item).nbytes if isinstance(item, ray.ObjectRef) else item for item in argument]
    return argument


def sizes(side: int, folder: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], Any]:
    """Bytes of what each task received, references as their values, and all that the tasks found."""
    made, store = plan(folder, with_pixels(side), assistants={"first": NET, "second": NET})
    data = made.dataset
    logits = (
        np.random.default_rng(0)
        .normal(0, 2, (len(made.nodes), len(data.labels_N), tiny.NUM_CLASSES))
        .astype(np.float32)
    )
    networks = {}
    for index, node in enumerate(made.nodes):
        table = logit_cache.assemble_table(
            data, made.config.views.num, lambda ids, view, index=index: logits[index][ids] + view
        )
        networks[node.replicate, node.name] = TrainedNetwork(
            node, cache_ref=ray.put(table), cache_digest=f"digest of {node.name}"
        )
    received = []
    start_task = HeartbeatAddress.start_task

    def counting(self: HeartbeatAddress, options: Any, function: Any, *arguments: Any) -> Any:
        received.append(len(pickle.dumps([_values(argument) for argument in arguments])))
        return start_task(self, options, function, *arguments)

    monkeypatch.setattr(HeartbeatAddress, "start_task", counting)
    study = tiny_studies.context(made, store)
    trials: list[Trial] = [trial for trial in made.trials if trial.arm.is_searched]
    found = search_weights(study, networks)
    weights = {trial: found.weights[trial] for trial in trials}
    mixtures = [(trial.replicate, trial.arm.assistants, weights[trial]) for trial in trials]
    evaluated = evaluate_ensembles(mixtures, networks, made.config, study.labels_ref)
    monkeypatch.setattr(HeartbeatAddress, "start_task", start_task)
    assert received
    return received, (weights, evaluated, evaluate_networks(networks, data))


def test_what_tasks_receive_does_not_grow_with_the_images(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small, found = sizes(8, tmp_path / "small", monkeypatch)
    large, again = sizes(256, tmp_path / "large", monkeypatch)
    # Names of folders differ by nothing in length, keys by nothing at all.
    assert large == small
    assert again == found
    assert max(large) < 1_000_000 < with_pixels(256).images_NCHW.nbytes
