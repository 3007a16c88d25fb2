"""Every shipped study fits the node groups of every cluster file."""

import re
import shlex
from typing import Any

import pytest

from tests.project.cluster_files.read_cluster_files import (
    CLUSTER,
    ROOT,
    groups,
    of_kind,
    overrides,
    read,
    readme_placement,
    readme_section,
)
from wetakd.cluster.capacity import num_workers, worker_resources
from wetakd.config import PlacementConfig, StudyConfig
from wetakd.config.study_file import load_study_file


def holds(group: dict[str, Any], placement: PlacementConfig) -> bool:
    fits = all(group["resources"].get(name, 0) >= amount for name, amount in worker_resources(placement).items())
    return fits and placement.labels.items() <= group["labels"].items()


def check_fits(config: StudyConfig, name: str) -> None:
    """Every network runs on the group `networks` and nowhere else, all at once; every student on `students`."""
    found = groups(name)
    for network in config.networks.values():
        assert holds(found["networks"], network.placement)
        assert not holds(found["students"], network.placement)
        assert num_workers(network) <= found["networks"]["max_workers"]
    assert len(config.assistants) <= found["networks"]["max_workers"]
    assert holds(found["students"], config.student.placement)
    assert not holds(found["networks"], config.student.placement)


@pytest.mark.parametrize("study", ["cifar10", "cifar10-paper", "cifar100", "digits"])
def test_a_shipped_study_fits_the_clouds_and_kubernetes_as_it_stands_and_with_the_readmes_placement(study: str) -> None:
    file = ROOT / "jobs" / f"{study}.yaml"
    as_it_stands, placed = load_study_file(file), load_study_file(file, readme_placement("AWS"))
    assert {network.placement.gpus for network in placed.networks.values()} == {1}
    for name in ("aws", "gcp", "kubernetes"):
        for block in (*as_it_stands.networks.values(), as_it_stands.student):
            assert any(holds(group, block.placement) for group in groups(name).values())
        check_fits(placed, name)


def submitted(section: str) -> str:
    """The command `wetakd submit` of a section, with what a shell puts into it left as it stands."""
    (command,) = re.findall(r"wetakd submit (?:.*\\\n)*.*", readme_section(section))
    return str(command)


@pytest.mark.parametrize("section", ["One machine", "AWS", "Your own machines", "Kubernetes"])
def test_no_command_of_the_readme_submits_images_that_only_this_machine_has(section: str) -> None:
    command = submitted(section)
    config = load_study_file(ROOT / shlex.split(command)[2], overrides(command))
    if config.data.source == "parquet":
        paths = [*config.data.train, *(config.data.test or ())]
        assert len(paths) == 2
        for path in paths:
            upload = rf"^aws s3 cp \S+ {re.escape(path.partition('?')[0])}$"
            assert path.startswith("s3://")
            assert re.search(upload, readme_section(section), re.MULTILINE)
    elif config.data.source != "digits":
        assert config.data.download is True
    assert ('"${PLACEMENT[@]}"' in command) == (section != "Your own machines")


def test_the_readme_makes_the_namespace_once_and_deletes_it_once() -> None:
    section = readme_section("Kubernetes")
    assert "kubectl apply --filename cluster/kubernetes/namespace.yaml" in section
    assert "create namespace" not in section
    assert "namespace.yaml" in read(CLUSTER / "kubernetes" / "kustomization.yaml")["resources"]
    assert "delete namespace" not in section


def test_the_readmes_placement_of_digits_fits_one_machine() -> None:
    check_fits(load_study_file(None, readme_placement("One machine")), "one-machine")


def test_the_job_manifest_runs_a_shipped_study_on_the_groups_of_the_cluster() -> None:
    (job,) = of_kind("RayJob")
    (cluster,) = of_kind("RayCluster")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    entry = job["spec"]["entrypoint"]
    program, script, study = shlex.split(entry)[:3]
    assert program == "python"
    assert (ROOT / script).is_file()
    config = load_study_file(ROOT / study, overrides(entry))
    assert config.data.source == "cifar10"
    check_fits(config, "kubernetes")


def test_the_job_manifest_sets_no_time_to_live_which_kuberay_refuses_where_the_cluster_stays() -> None:
    (job,) = of_kind("RayJob")
    assert not job["spec"].get("shutdownAfterJobFinishes")  # the cluster is not the job's
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert job["spec"]["activeDeadlineSeconds"] > 0
