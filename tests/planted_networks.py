"""Networks on storage as a study leaves them, trained in this process: no cluster is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wetakd.config import StudyConfig
from wetakd.data.dataset import Dataset
from wetakd.data.views import Views
from wetakd.logits import logit_cache
from wetakd.plan.key_payloads import cache_payload
from wetakd.plan.outcomes import TrainedNetwork
from wetakd.plan.resolved_precision import read_precisions, resolve_precisions_here, write_precisions
from wetakd.plan.study_plan import Plan
from wetakd.stages import training_run
from wetakd.stages.training_job import network_job
from wetakd.storage.addresses import network_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.format_number import write_format


def plant_networks(
    config: StudyConfig, dataset: Dataset, names: Sequence[str] | None = None
) -> dict[tuple[int, str], TrainedNetwork]:
    """Train these networks (None: all) and store them with their logits; each must come after its teachers."""
    store = Store(config.storage)
    write_format(store)
    planted: dict[tuple[int, str], TrainedNetwork] = {}
    caches: dict[tuple[int, str], Any] = {}
    precisions = read_precisions(store, config)
    if precisions is None:
        precisions = resolve_precisions_here(config)
        write_precisions(store, config, precisions)
    for node in Plan(config, dataset, precisions).nodes:
        if names is not None and node.name not in names:
            continue
        teachers = [caches[node.replicate, name] for name in node.teachers]
        list(training_run.run_job(network_job(node, config, config.storage), dataset, teachers))
        manifest = store.find(network_address(node.key))
        assert manifest is not None
        network = training_run.load_model(store, manifest, node.config.model, dataset)
        table = logit_cache.compute_logits(network, dataset, Views.of(config.views))
        cache = logit_cache.write_cache(store, cache_payload(node.key, manifest), table)
        place = (node.replicate, node.name)
        caches[place] = table
        planted[place] = TrainedNetwork(
            node, trained=True, manifest=manifest, cache_digest=logit_cache.cache_digest(cache)
        )
    return planted
