"""The state that all stages of a running study share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import ray

from wetakd.common.progress import Reporter, Stage
from wetakd.config import StudyConfig
from wetakd.data.dataset import Dataset
from wetakd.data.splits import SplitLabels
from wetakd.plan.study_plan import Plan
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import Lease
from wetakd.tracking.study_logger import StudyLogger
from wetakd.tracking.tracker import Tracker


@dataclass(frozen=True)
class StudyContext:
    """Shared state of a running study."""

    config: StudyConfig
    store: Store
    lease: Lease
    dataset: Dataset
    dataset_ref: ray.ObjectRef[Dataset]
    labels_ref: ray.ObjectRef[SplitLabels]
    plan: Plan
    tracker: Tracker
    study_logger: StudyLogger
    reporter: Reporter

    def stage(self, name: str, total: float) -> AbstractContextManager[Stage]:
        """One part of the study, shown; raises UserError where another driver has taken the study over."""
        self.lease.check()
        return self.reporter.stage(name, total)
