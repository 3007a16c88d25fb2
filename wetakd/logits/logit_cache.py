"""The logit cache: what a network says about every image, computed once, kept once a node, read without a copy.

A logit cache is one Arrow table a network: one row a (sample, view), in a fixed order: split `fit` view by view, then
`weigh`, `choose` and `test` in the clean view 0. Logits are float16, dense; they are addressed by sample id and view,
never by step or batch. This file imports no Ray: a table travels through the object store, or through storage as
Arrow IPC under the key of its network.

Shapes: V views, N samples of a split, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wetakd.common.canonical_json import key_of
from wetakd.storage.addresses import logit_cache_address
from wetakd.storage.atomic_store import DamagedBlob, Store
from wetakd.storage.manifest import Manifest

if TYPE_CHECKING:
    from torch import nn

    from wetakd.data.dataset import Dataset
    from wetakd.data.views import Views

BYTES_PER_LOGIT = 2
BYTES_PER_ROW = 8 + 2
# Of float32 logits that a network is asked for at a time; 268,435 rows of 1,000 classes.
_SLICE_BYTES = 2**30
_LOGITS_BLOB = "logits.arrow"
_PROBED = 32  # rows at either end of a block that `largest_difference` computes again
_CLEAN_SPLITS = ("weigh", "choose", "test")


@dataclass(frozen=True, eq=False)
class Logits:
    """Views into one logit cache table: float16, read-only."""

    fit_VNC: np.ndarray
    weigh_NC: np.ndarray
    choose_NC: np.ndarray
    test_NC: np.ndarray


def num_cache_rows(dataset: Dataset, num_views: int) -> int:
    """Rows of one logit cache, which is also the number of forward passes it costs."""
    clean = sum(len(getattr(dataset.splits, split)) for split in _CLEAN_SPLITS)
    return num_views * len(dataset.splits.fit) + clean


def num_cache_bytes(dataset: Dataset, num_views: int) -> int:
    """Bytes that one network's logit cache takes in the object store."""
    return num_cache_rows(dataset, num_views) * (dataset.num_classes * BYTES_PER_LOGIT + BYTES_PER_ROW)


def compute_logits(
    model: nn.Module,
    dataset: Dataset,
    views: Views,
    device: str = "cpu",
    num_threads: int = 1,
    on_step: Callable[[], None] = lambda: None,
) -> pa.Table:
    """One forward pass a row: the logit cache table of `model`. `on_step` is called after each batch.

    Raises FloatingPointError where a logit is not finite or leaves the range of float16: the network diverged.
    """
    from wetakd.training.inference import predict

    def logits_of(sample_ids: np.ndarray, view: int) -> np.ndarray:
        return predict(
            model, dataset, sample_ids, views=views, view=view, device=device, num_threads=num_threads, on_step=on_step
        )

    return assemble_table(dataset, views.num, logits_of)


def assemble_table(dataset: Dataset, num_views: int, logits_of: Callable[[np.ndarray, int], np.ndarray]) -> pa.Table:
    """The logit cache table of whatever `logits_of(sample_ids, view)` (float, N x C) says; see `compute_logits`."""
    num, num_classes = num_cache_rows(dataset, num_views), dataset.num_classes
    # Filled in place: pieces that are put together in the end would take the memory twice.
    ids_R, views_R, logits_RC = (
        np.empty(num, np.int64),
        np.empty(num, np.int16),
        np.empty((num, num_classes), np.float16),
    )
    start = 0
    for block_ids, view in _row_blocks(dataset, num_views):
        for sample_ids in np.array_split(block_ids, max(1, -(-len(block_ids) * 4 * num_classes // _SLICE_BYTES))):
            rows = slice(start, start + len(sample_ids))
            with np.errstate(over="ignore"):  # said below
                logits_RC[rows] = logits_of(sample_ids, view)
            if not np.isfinite(logits_RC[rows]).all():
                raise FloatingPointError("a logit is not finite or beyond the range of float16")
            ids_R[rows], views_R[rows] = sample_ids, view
            start = rows.stop
    layout = {"num_views": num_views, **{s: len(getattr(dataset.splits, s)) for s in ("fit", *_CLEAN_SPLITS)}}
    columns = {
        "sample_id": pa.array(ids_R),
        "view": pa.array(views_R),
        "logits": pa.FixedSizeListArray.from_arrays(pa.array(logits_RC.ravel()), num_classes),
    }
    return pa.table(columns).replace_schema_metadata({"wetakd": json.dumps(layout)})


def _row_blocks(dataset: Dataset, num_views: int) -> Iterator[tuple[np.ndarray, int]]:
    """Sample ids and view of each block of rows, in the order of the table."""
    for view in range(num_views):
        yield dataset.splits.fit, view
    for split in _CLEAN_SPLITS:
        yield getattr(dataset.splits, split), 0


def logits_of_table(table: pa.Table) -> Logits:
    """The logits of a logit cache table, without a copy."""
    layout = json.loads(table.schema.metadata[b"wetakd"])
    column = table.column("logits").chunk(0)
    num_classes = column.type.list_size
    logits_RC = column.flatten().to_numpy(zero_copy_only=True).reshape(-1, num_classes)
    num_fit = layout["num_views"] * layout["fit"]
    clean, start = {}, num_fit
    for split in _CLEAN_SPLITS:
        clean[f"{split}_NC"] = logits_RC[start : start + layout[split]]
        start += layout[split]
    return Logits(fit_VNC=logits_RC[:num_fit].reshape(layout["num_views"], layout["fit"], num_classes), **clean)


def largest_difference(table: pa.Table, model: nn.Module, dataset: Dataset, views: Views) -> float:
    """Largest difference between stored and recomputed logits over the first and last rows of every block.

    float16 keeps 11 bits, so a sound logit cache stays within 0.001 x the largest logit.
    """
    from wetakd.training.inference import predict

    stored_RC = table.column("logits").chunk(0).flatten().to_numpy(zero_copy_only=True).reshape(table.num_rows, -1)
    worst, start = 0.0, 0
    for sample_ids, number in _row_blocks(dataset, views.num):
        probe = np.unique(np.r_[: min(_PROBED, len(sample_ids)), max(0, len(sample_ids) - _PROBED) : len(sample_ids)])
        fresh_NC = predict(model, dataset, sample_ids[probe], views=views, view=number)
        worst = max(worst, float(np.abs(fresh_NC - stored_RC[start + probe]).max(initial=0.0)))
        start += len(sample_ids)
    return worst


@dataclass(frozen=True, eq=False)
class StoredCache:
    """A logit cache as it is stored."""

    table: pa.Table
    digest: str
    """SHA-256 of its content; keys of what is computed from the logits contain it."""


def write_cache(store: Store, payload: Mapping[str, Any], table: pa.Table) -> Manifest:
    """Commit a logit cache under the key of `payload`."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    address = logit_cache_address(key_of(payload))
    return store.commit(address, {_LOGITS_BLOB: sink.getvalue()}, {"rows": table.num_rows}, payload)


def read_cache(store: Store, key: str) -> StoredCache | None:
    """The logit cache `key`; None where it is missing or damaged, and so must be computed again."""
    manifest = store.find(logit_cache_address(key))
    if manifest is None:
        return None
    try:
        table = pa.ipc.open_file(store.read(manifest, _LOGITS_BLOB)).read_all().combine_chunks()
    except (DamagedBlob, pa.ArrowInvalid):
        store.delete(manifest.address)
        return None
    return StoredCache(table, cache_digest(manifest))


def cache_digest(cache: Manifest) -> str:
    """SHA-256 of the content of a stored logit cache."""
    return cache.blobs[_LOGITS_BLOB].sha256
