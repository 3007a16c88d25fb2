"""What each kind of result depends on: one explicit payload for each kind, whose hash is the key of the result.

A field of the study file that is at its default is left out of a payload. So a new field with a default changes no
key that exists. A manifest contains the payload of its result, which `wetakd why` compares.

Each kind has a version. Raise it with a change that gives other results for the same payload, and with a change of a
default: `tests/unit/plan/golden_keys.json` shows which keys change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from wetakd.common.user_functions import source_digest
from wetakd.config import DistillationConfig, ModelConfig, NetworkConfig, RecipeConfig, ViewsConfig, WeightsConfig
from wetakd.storage.manifest import Manifest
from wetakd.weights import entry_point_of

NETWORK_VERSION = 2
STUDENT_VERSION = 2
IMPORT_VERSION = 2
CACHE_VERSION = 1
SEARCH_VERSION = 3
EVALUATION_VERSION = 1

Payload = Mapping[str, Any]


def settings(block: BaseModel) -> dict[str, Any]:
    """The fields of a block of the study file that are not at their defaults, as plain data."""
    return block.model_dump(mode="json", exclude_defaults=True)


def training_payload(
    kind: str,
    version: int,
    *,
    data: str,
    views: ViewsConfig,
    model: ModelConfig,
    recipe: RecipeConfig,
    precision: str,
    seed: int,
    distillation: DistillationConfig | None,
    mixture: str,
    teachers: Sequence[tuple[str, float]],
    workers: int | tuple[int, int],
) -> Payload:
    """Of a network (`kind` is "network") or a student ("student") that is trained here.

    Args:
        data: fingerprint of the data set.
        precision: of the forward and backward pass; never `auto`.
        distillation: None without teachers.
        mixture: `weights.mixture`; counts where there are several teachers.
        teachers: for each teacher, what identifies it and its weight. A network's teacher is identified by its key. A
            student's teacher is identified by the SHA-256 of its logit cache.
        workers: size of the worker group; 0 for none.
    """
    payload: dict[str, Any] = {
        "kind": kind,
        "version": version,
        "data": data,
        "views": settings(views),
        "model": settings(model),
        "recipe": settings(recipe) | {"precision": precision},
        "seed": seed,
        "teachers": [list(teacher) for teacher in teachers],
        "workers": workers if isinstance(workers, int) else list(workers),
    }
    if distillation is not None:
        payload["distillation"] = settings(distillation)
        payload |= _code("loss_code", distillation.loss, "distillation.loss")
    if len(teachers) > 1:
        payload["mixture"] = mixture
    return payload | _code("model_code", model.name)


def import_payload(network: NetworkConfig, *, data: str, views: ViewsConfig, file: str) -> Payload:
    """Of a network whose weights or logits are in a file with SHA-256 `file`: the same in every replicate."""
    payload = {
        "kind": "import",
        "version": IMPORT_VERSION,
        "data": data,
        "views": settings(views),
        "model": settings(network.model),
        "file": file,
    }
    return payload | _code("model_code", network.model.name)


def cache_payload(network_key: str, network: Manifest) -> Payload:
    """Of the logit cache of a stored network: it belongs to these very weights.

    A file of logits has no weights. The key of its network contains the digest of the file.
    """
    return {
        "kind": "cache",
        "version": CACHE_VERSION,
        "network": network_key,
        "weights": {name: blob.sha256 for name, blob in network.blobs.items()},
    }


def search_payload(strategy: str, weights: WeightsConfig, *, data: str, caches: Sequence[str], seed: int) -> Payload:
    """Of a search for ensemble weights over the networks whose logit caches have the SHA-256 `caches`.

    `data`: fingerprint of the data set, because the caches have no labels.
    """
    payload = {
        "kind": "search",
        "version": SEARCH_VERSION,
        "data": data,
        "caches": list(caches),
        "strategy": strategy,
        "weights": settings(weights),
        "seed": seed,
    }
    place = entry_point_of(strategy)
    return payload | (_code("strategy_code", place, "study.strategies") if place is not None else {})


def contributions_payload(weights: WeightsConfig, *, data: str, caches: Sequence[str]) -> Payload:
    """Of what each network of the pool adds to the ensemble."""
    fields = settings(weights)
    return {
        "kind": "contributions",
        "version": SEARCH_VERSION,
        "data": data,
        "caches": list(caches),
        "weights": {name: fields[name] for name in ("mixture", "temperature") if name in fields},
    }


def evaluation_payload(student_key: str, student: Manifest, *, data: str) -> Payload:
    """Of the evaluation of a stored student on the split test: it belongs to these very weights."""
    return {
        "kind": "evaluation",
        "version": EVALUATION_VERSION,
        "student": student_key,
        "weights": {name: blob.sha256 for name, blob in student.blobs.items()},
        "data": data,
    }


def _code(name: str, function: str, field: str = "model.name") -> dict[str, str]:
    """The digest of the source of a user's function; nothing for built-in names."""
    digest = source_digest(function, field=field)
    return {name: digest} if digest else {}
