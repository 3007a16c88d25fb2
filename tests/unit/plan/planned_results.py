"""Keys of searches and students of a plan without real logits, and networks on a storage."""

from __future__ import annotations

from wetakd.common.canonical_json import key_of
from wetakd.config import StudyConfig
from wetakd.plan.key_payloads import cache_payload
from wetakd.plan.resolved_precision import ResolvedPrecision, auto_placements
from wetakd.plan.result_keys import ResultKeys
from wetakd.plan.study_plan import Plan
from wetakd.storage.addresses import WEIGHTS_BLOB, logit_cache_address, network_address
from wetakd.storage.atomic_store import Store


def invented_keys(plan: Plan) -> ResultKeys:
    """Keys for logit caches whose digests are invented: equal for equal networks."""
    return ResultKeys(plan, {(node.replicate, node.name): f"digest of {node.key}" for node in plan.nodes})


def float32(config: StudyConfig) -> dict[str, ResolvedPrecision]:
    """`precision: auto` as float32, wherever the file has it."""
    return {name: ResolvedPrecision("cpu", "float32") for name in auto_placements(config)}


def store_networks(store: Store, plan: Plan) -> ResultKeys:
    """Commit every network with a logit cache; returns the keys of what is made from them."""
    for node in plan.nodes:
        network = store.commit(network_address(node.key), {WEIGHTS_BLOB: node.key.encode()}, {}, node.payload)
        payload = cache_payload(node.key, network)
        store.commit(logit_cache_address(key_of(payload)), {"logits.arrow": node.key.encode()}, {}, payload)
    return ResultKeys.stored(store, plan)
