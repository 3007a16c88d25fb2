"""The files of Ray's cluster launcher: valid, closed to strangers, and free of cost when idle."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.project.cluster_files.read_cluster_files import (
    CLUSTER,
    LAUNCHER,
    groups,
    of_kind,
    one_machine,
    read,
    readme_section,
)


def launcher_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    return schema


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.stem)
def test_ray_accepts_a_launcher_file(path: Path) -> None:
    config = read(path)
    jsonschema.validate(config, launcher_schema())
    if path.stem == "one-machine":
        config = one_machine().autoscaler_config("127.0.0.1:6379")
    validate_config(prepare_config(copy.deepcopy(config)))


def test_the_schema_would_find_a_typing_error() -> None:
    config = read(CLUSTER / "aws.yaml")
    config["available_node_types"]["students"]["idle_timeout"] = 60
    config["idle_timeout_minute"] = 5
    assert len(list(jsonschema.Draft7Validator(launcher_schema()).iter_errors(config))) >= 1


@pytest.mark.parametrize("path", [path for path in LAUNCHER if path.stem != "one-machine"], ids=lambda path: path.stem)
def test_every_node_and_container_demands_the_token_and_the_dashboard_stays_inside(path: Path) -> None:
    config = read(path)
    (head,) = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    (worker,) = [line for line in config["worker_start_ray_commands"] if "ray start" in line]
    for line in (head, worker):
        assert "RAY_AUTH_MODE=token ray start" in line
    assert "--dashboard-host=127.0.0.1" in head
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}


def test_every_head_leaves_a_stopped_driver_the_time_to_close_its_runs(tmp_path: Path) -> None:
    source = (Path(ray.__file__).parent / "dashboard" / "modules" / "job" / "job_supervisor.py").read_text()
    assert '"RAY_JOB_STOP_WAIT_TIME_S"' in source
    for path in LAUNCHER:
        if path.stem != "one-machine":
            assert "--env RAY_JOB_STOP_WAIT_TIME_S=30" in read(path)["docker"]["run_options"]
    assert one_machine()._environment(tmp_path)["RAY_JOB_STOP_WAIT_TIME_S"] == "30"
    (cluster,) = of_kind("RayCluster")
    (head,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert {"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": "30"} in head["env"]


@pytest.mark.parametrize("name", ["aws", "gcp", "one-machine"])
def test_the_head_computes_nothing_and_workers_grow_from_zero_and_go_when_idle(name: str) -> None:
    config = read(CLUSTER / f"{name}.yaml")
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    workers = groups(name)
    assert set(workers) == {"networks", "students"}
    for group in workers.values():
        assert group["min_workers"] == 0
        assert group["max_workers"] > 0
    assert sum(group["max_workers"] for group in workers.values()) == config["max_workers"]
    assert 0 < config["idle_timeout_minutes"] <= 60


def test_the_containers_of_your_own_machines_see_the_folder_that_the_readme_stores_in() -> None:
    section = readme_section("Your own machines")
    (storage,) = re.findall(r"--set storage=(/\S+)", section)
    mounts = [option.removeprefix("--volume ") for option in read(CLUSTER / "on-premise.yaml")["docker"]["run_options"]]
    assert f"{Path(storage).parent}:{Path(storage).parent}" in mounts
    assert "uid 1000" in section


def test_cloud_workers_are_spot_machines() -> None:
    for group in groups("aws").values():
        assert group["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert group["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    for group in groups("gcp").values():
        assert group["node_config"]["scheduling"][0]["provisioningModel"] == "SPOT"
