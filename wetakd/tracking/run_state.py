"""What the journal holds of one run, so that nothing is logged twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wetakd.tracking.event_journal import Event
from wetakd.tracking.tracker import Status


@dataclass
class RunState:
    """What was logged of one run. Steps are bits of one number: a thousand curves stay small."""

    status: Status | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    datasets_and_models: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        """Add one event."""
        data = event.data
        if event.kind == "metrics":
            for key in data["values"]:
                self.steps[key] = self.steps.get(key, 0) | 1 << data["step"]
        elif event.kind == "artifact":
            self.files[data["path"]] = data["blob"]
        elif event.kind in ("dataset", "model"):
            self.datasets_and_models.add(_event_identity(event.kind, data))
        elif event.kind == "close":
            self.status = data["status"]
        else:
            if event.kind == "open":
                self.status = "RUNNING"
            self.params |= data.get("params", {})
            self.tags |= data.get("tags", {})

    def has(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Whether this data set or model was logged before."""
        return _event_identity(kind, data) in self.datasets_and_models


def _event_identity(kind: str, data: Mapping[str, Any]) -> str:
    return f"{kind}:{data['name']}:{data['digest']}:{data.get('register_as')}"
