"""Drivers on a cluster that was there before."""

import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray.util import placement_group, placement_group_table

from tests.integration.ray_heads import ROOT, head
from wetakd.cluster.placement_groups import removing_placement_groups

pytestmark = pytest.mark.timeout(300)

_OTHER = """
import ray, sys
from ray.util import placement_group
ray.init(sys.argv[1], log_to_driver=False)
group = placement_group([{"CPU": 0.01}])
ray.get(group.ready())
print(group.id.hex(), flush=True)
sys.stdin.read()
"""


def interrupted(other, made):
    """The other driver makes a group while we do, then we are interrupted."""
    with removing_placement_groups():
        made.append(other.readline().strip())
        group = placement_group([{"CPU": 0.01}])
        made.append(group.id.hex())
        ray.get(group.ready())
        raise KeyboardInterrupt


@pytest.mark.usefixtures("ray_cluster")
def test_a_driver_that_fails_takes_its_own_placement_groups_along_and_nobody_elses():
    kept = placement_group([{"CPU": 0.01}])
    ray.get(kept.ready())
    command = [sys.executable, "-c", _OTHER, ray.get_runtime_context().gcs_address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        made = []
        with pytest.raises(KeyboardInterrupt):
            interrupted(driver.stdout, made)
        theirs, ours = made
        found = {group: facts["state"] for group, facts in placement_group_table().items()}
        driver.stdin.close()
    ray.util.remove_placement_group(kept)
    assert found[theirs] == "CREATED"
    assert found[kept.id.hex()] == "CREATED"
    assert found.get(ours, "REMOVED") == "REMOVED"


_JOINS = """
import ray
from wetakd.cluster.ray_cluster import joined
from wetakd.config.study_file import load_study_file
with joined(load_study_file(None)):
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
"""


def test_joining_a_cluster_without_a_token_leaves_none_behind() -> None:
    with head(with_token=False) as environment:
        unset = {name: value for name, value in environment.items() if name != "RAY_AUTH_MODE"}
        for client in (environment, unset):
            command = [sys.executable, "-c", _JOINS]
            done = subprocess.run(command, cwd=ROOT, env=client, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert not Path(environment["HOME"], ".ray/auth_token").exists()
