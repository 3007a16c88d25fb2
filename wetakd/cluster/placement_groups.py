"""Placement groups of this driver, removed when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group


@contextmanager
def removing_placement_groups() -> Iterator[None]:
    """Where the block is left by an exception, the placement groups made in it go, and what runs in them."""
    before = _own_placement_groups()
    try:
        yield
    except BaseException:
        for group in _own_placement_groups() - before:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(group)))
        raise


def _own_placement_groups() -> set[str]:
    """Those of this job: their numbers end with its number. The table lists those of all jobs of the cluster."""
    job = ray.get_runtime_context().get_job_id()
    return {group for group in placement_group_table() if group.endswith(job)}
