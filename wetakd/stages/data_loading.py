"""The first stage: images and labels, read and split."""

from __future__ import annotations

from wetakd.common.progress import Reporter
from wetakd.config import StudyConfig
from wetakd.data.dataset import Dataset, load_dataset


def load_data(config: StudyConfig, reporter: Reporter) -> Dataset:
    """Read, decode and split the images."""
    with reporter.stage("data", 1.0) as stage:
        return load_dataset(
            config.data,
            config.splits,
            config.transform,
            memory_share=config.limits.memory_share,
            on_progress=lambda done, total: stage.step(done / total, f"image {done:,} of {total:,}"),
            on_note=reporter.message,
        )
