"""Networks that were trained elsewhere: a checkpoint, or nothing but what they say of every image.

A file of logits holds float logits of every sample id of the study (a row of its images: training images in the order
of the source, then the test images; `log p` will do for probabilities); `array_files` has the layouts. Views above 0
are only needed of the samples of the split fit. Nothing is unpickled but tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs
from torch import nn

from wetakd.common.errors import UserError, one_line
from wetakd.common.redact import redact
from wetakd.config import NetworkConfig, block_of
from wetakd.data.dataset import Dataset
from wetakd.logits import logit_cache
from wetakd.logits.array_files import read_logits
from wetakd.models.checkpoint_file import read_tensors
from wetakd.models.cost import measure_cost
from wetakd.models.registry import build_model, input_shape
from wetakd.storage.addresses import WEIGHTS_BLOB
from wetakd.storage.atomic_store import Store
from wetakd.storage.training_facts import TrainingFacts
from wetakd.training.train_state import state_bytes


def commit_external(
    store: Store, address: str, payload: Mapping[str, Any], network: NetworkConfig, dataset: Dataset, name: str
) -> None:
    """Commit a network that was trained elsewhere under its address, as if it had been trained here."""
    if network.logits is not None:
        store.commit(address, {}, TrainingFacts((), 0.0, None, None, dataset.fingerprint).to_dict(), payload)
        return
    model, shape = load_checkpoint(network, dataset, name), input_shape(dataset)
    size = measure_cost(model, shape)
    facts = TrainingFacts((), 0.0, size.parameters, size.macs, dataset.fingerprint)
    store.commit(address, {WEIGHTS_BLOB: state_bytes(model)}, facts.to_dict(), payload)


def check_external(network: NetworkConfig, dataset: Dataset, num_views: int, name: str) -> None:
    """Raise UserError unless the file of a network from elsewhere fits the study."""
    if network.logits is not None:
        logits_table(network, dataset, num_views, name)
    else:
        model = load_checkpoint(network, dataset, name)
        measure_cost(model, input_shape(dataset), field=f"{block_of(name)}.model")


def external_digest(network: NetworkConfig, name: str) -> str:
    """SHA-256 of the file that a network from elsewhere is in."""
    return hashlib.sha256(_read_file(*_file_and_field(network, name))).hexdigest()


def _file_and_field(network: NetworkConfig, name: str) -> tuple[str, str]:
    """The file, and the field that names it."""
    if network.logits is not None:
        return network.logits, f"{block_of(name)}.logits"
    assert network.checkpoint is not None, "only for networks from elsewhere"
    return network.checkpoint, f"{block_of(name)}.checkpoint"


def _read_file(path: str, field: str) -> bytes:
    local = Path(path).expanduser()
    if "://" not in path and local.exists() and not local.is_file():
        raise UserError(f"{field}: {path!r} is no file")  # a pipe would be waited for
    try:
        if "://" not in path:
            return local.read_bytes()
        filesystem, inside = fs.FileSystem.from_uri(path)
        with filesystem.open_input_stream(inside) as stream:
            data: bytes = stream.read()
        return data
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or redact(one_line(error), path)
        raise UserError(f"{field}: {redact(path)!r} cannot be read: {reason}") from None


def load_checkpoint(network: NetworkConfig, dataset: Dataset, name: str) -> nn.Module:
    """The network with the weights of its checkpoint.

    Raises:
        UserError: a file that is missing or no such thing, or weights of another architecture.
    """
    path, field = _file_and_field(network, name)
    model = build_model(
        network.model, input_shape(dataset), dataset.num_classes, seed=0, field=field.replace("checkpoint", "model")
    )
    state = read_tensors(_read_file(path, field), f"{field}: {redact(path)!r}")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = one_line(error, 300)
        raise UserError(f"{field}: {redact(path)!r} holds the weights of another network: {reason}") from error
    return model


def logits_table(network: NetworkConfig, dataset: Dataset, num_views: int, name: str) -> pa.Table:
    """The logit cache table of a file of logits.

    Raises:
        UserError: a file that is missing, damaged or laid out otherwise, logits that are missing or no finite numbers.
    """
    path, field = _file_and_field(network, name)
    where = f"{field}: {redact(path)!r}"
    ids_R, views_R, logits_RC = read_logits(path, _read_file(path, field), where)
    num, num_classes = len(dataset.labels_N), dataset.num_classes
    if logits_RC.ndim != 2 or logits_RC.shape[1] != num_classes or len(ids_R) != len(logits_RC):
        raise UserError(f"{where} has logits of shape {list(logits_RC.shape)}; {num_classes} a sample are needed")
    if len(ids_R) and (ids_R.min() < 0 or ids_R.max() >= num):
        raise UserError(f"{where} has sample ids from {ids_R.min()} to {ids_R.max()}; the study has 0 to {num - 1}")
    row_of: dict[int, np.ndarray] = {}
    for view in range(num_views):
        of_view = np.flatnonzero(views_R == view)
        row_of[view] = np.full(num, -1)
        row_of[view][ids_R[of_view]] = of_view

    def logits_of(sample_ids: np.ndarray, view: int) -> np.ndarray:
        rows = row_of[view][sample_ids]
        if (rows < 0).any():
            raise UserError(
                f"{where} has no logits of sample {sample_ids[rows < 0][0]} in view {view}"
                + ("; set views.num: 1, or give the other views" if view else "")
            )
        logits_NC: np.ndarray = logits_RC[rows]
        return logits_NC

    try:
        return logit_cache.assemble_table(dataset, num_views, logits_of)
    except FloatingPointError as error:
        raise UserError(f"{where}: {error}") from None
