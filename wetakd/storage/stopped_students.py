"""Records of students that a study stopped before their last epoch, because others did better.

`studies/NAME/stopped/KEY.json`: each study may stop the same student at another epoch.
"""

from __future__ import annotations

from collections.abc import Sequence

from wetakd.common.canonical_json import dump_with_digest, load_with_digest
from wetakd.storage.addresses import study_path
from wetakd.storage.atomic_store import Store
from wetakd.training.epoch import Epoch


def write_stopped_epochs(store: Store, study: str, key: str, epochs: Sequence[Epoch]) -> None:
    """Record the epochs of the student `key` that the study `study` has stopped."""
    store.write(_path(study, key), dump_with_digest({"epochs": [epoch.to_dict() for epoch in epochs]}))


def read_stopped_epochs(store: Store, study: str, key: str) -> list[Epoch] | None:
    """What `write_stopped_epochs` wrote; None where there is no record, or it is damaged."""
    try:
        content = load_with_digest(store.read_file(_path(study, key)) or b"")
    except ValueError:
        return None
    return [Epoch.from_dict(epoch) for epoch in content["epochs"]]


def _path(study: str, key: str) -> str:
    return study_path(study, f"stopped/{key}.json")
