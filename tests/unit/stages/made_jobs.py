"""A training job of the tiny network, for the tests of what runs one."""

import dataclasses

from tests.unit import tiny
from wetakd.stages.training_job import TrainingJob


def make_job(folder, **changes):
    made = TrainingJob(
        uid="network:0:first",
        address="networks/first",
        payload={"kind": "network", "name": "first"},
        model=tiny.PLAIN_2,
        recipe=tiny.RECIPE,
        precision="float32",
        seed=3,
        views=tiny.CLEAN,
        device="cpu",
        store_uri=str(folder),
        checkpoint_s=1000.0,
    )
    return dataclasses.replace(made, **changes)
