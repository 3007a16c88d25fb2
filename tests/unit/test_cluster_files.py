"""The files in cluster/: valid for those who read them, secured alike, and shaped as the study files ask."""

import copy
import importlib.util
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml
from mlflow.cli import server
from ray.autoscaler._private.util import prepare_config, validate_config

from wetakd.cluster.capacity import num_workers, worker_resources
from wetakd.config import PlacementConfig, StudyConfig
from wetakd.config.study_file import load

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHER = sorted(path for path in CLUSTER.glob("*.yaml"))
MANIFESTS = sorted(path for path in (CLUSTER / "kubernetes").glob("*.yaml"))
DEFINITIONS = ROOT.parent / "shared" / "data" / "kuberay-crds"


def read(path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(path.read_text())
    return tree


# ------------------------------------------------------------------------------------------- the cluster launcher


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


# ------------------------------------------------------------------------------------------------------- KubeRay


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            yield (
                f"{path.stem}:{document['kind']}:{document['metadata'].get('name', '')}"
                if "metadata" in document
                else (path.stem),
                document,
            )


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for _, document in documents() if document["kind"] == kind]


def strict(node: Any) -> Any:
    """A resource definition's schema that refuses unknown fields and knows its dialect's numbers and nulls."""
    if isinstance(node, list):
        return [strict(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    node = {key: strict(entry) for key, entry in node.items()}
    if node.pop("x-kubernetes-int-or-string", None):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    closed = "additionalProperties" not in node and not node.get("x-kubernetes-preserve-unknown-fields")
    if node.get("type") == "object" and "properties" in node and closed:
        node["additionalProperties"] = False
    return node


def definition(kind: str) -> dict[str, Any]:
    file = DEFINITIONS / f"ray.io_{kind.lower()}s.yaml"
    tree = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = [version for version in tree["spec"]["versions"] if version["name"] == "v1"]
    schema: dict[str, Any] = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


@pytest.mark.skipif(not DEFINITIONS.is_dir(), reason="KubeRay's resource definitions are not here")
@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_kuberay_accepts_its_manifests_and_would_find_a_typing_error(kind: str) -> None:
    (manifest,) = of_kind(kind)
    validator = jsonschema.Draft202012Validator(definition(kind))
    assert [error.message for error in validator.iter_errors(manifest)] == []
    wrong = copy.deepcopy(manifest)
    if kind == "RayCluster":
        container = wrong["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
        container["imagePullPolicies"] = "Always"
    wrong["spec"]["idleTimeoutSecond"] = 1
    assert len(list(validator.iter_errors(wrong))) == (2 if kind == "RayCluster" else 1)


KUBERNETES = [
    (name, document) for name, document in documents() if not document["apiVersion"].startswith(("ray.io", "kustomize"))
]


@pytest.mark.parametrize("document", [doc for _, doc in KUBERNETES], ids=[name for name, _ in KUBERNETES])
def test_kubernetes_accepts_the_other_manifests(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.32", strict=True)


def pod_specs(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for child in node.values():
            yield from pod_specs(child)
    elif isinstance(node, list):
        for child in node:
            yield from pod_specs(child)


CONTAINER = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def test_every_container_may_write_to_its_volumes_alone_and_has_one_for_temporary_files() -> None:
    (cluster,) = of_kind("RayCluster")
    autoscaler = cluster["spec"]["autoscalerOptions"]
    assert autoscaler["securityContext"] == CONTAINER
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]
    pods = [(pod, pod["containers"]) for _, document in documents() for pod in pod_specs(document)]
    for pod, containers in [*pods, (head, [autoscaler])]:
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["tmp"]["emptyDir"] == {}
        for container in containers:
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    for container in [autoscaler, *(c for _, containers in pods for c in containers if c["image"] == "wetakd")]:
        assert {"name": "HOME", "value": "/tmp"} in container["env"]
    (postgres,) = [c for _, containers in pods for c in containers if c["name"] == "postgres"]
    paths = {mount["mountPath"] for mount in postgres["volumeMounts"]}
    assert paths == {"/var/lib/postgresql/data", "/var/run/postgresql", "/tmp"}


def test_no_pod_may_be_root_or_grow_without_bound() -> None:
    pods = [pod for _, document in documents() for pod in pod_specs(document)]
    assert len(pods) == 6  # storage, MLflow, PostgreSQL, head, two groups of workers
    for pod in pods:
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == CONTAINER
            assert "memory" in container["resources"]["limits"]
            assert "cpu" in container["resources"]["requests"]
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def readme_secret(name: str) -> dict[str, str]:
    """The keys and values of a secret, as the README's commands make it, anew each time."""
    commands = readme_section("Kubernetes").partition("```sh\n")[2].partition("```")[0]
    script = f"kubectl() {{ [[ $* != *' generic {name} '* ]] || printf '%s\\0' \"$@\"; }}\n{commands}"
    words = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout.split("\0")
    literals = [word.removeprefix("--from-literal=") for word in words if word.startswith("--from-literal=")]
    return dict(literal.split("=", 1) for literal in literals)


def test_storage_knows_one_key_from_the_secret_and_lets_nobody_else_in() -> None:
    secret = readme_secret("storage")
    assert len(secret["secret-key"]) == 64
    assert readme_secret("storage")["secret-key"] != secret["secret-key"]
    (identity,) = json.loads(secret["identities"])["identities"]
    assert identity["name"] != "anonymous"
    assert identity["credentials"] == [{"accessKey": secret["access-key"], "secretKey": secret["secret-key"]}]
    assert identity["actions"] == ["Admin"]
    (pod,) = [
        pod for _, document in documents() for pod in pod_specs(document) if "seaweedfs" in str(pod["containers"])
    ]
    (container,) = pod["containers"]
    # By a file, without which it does not start: which releases take keys from the environment varies (seaweedfs#7311).
    assert "env" not in container
    assert {"-ip=127.0.0.1", "-s3.ip.bind=0.0.0.0"} <= set(container["args"])
    (major, minor) = re.findall(r"seaweedfs:(\d+)\.(\d+)$", container["image"])[0]
    assert (int(major), int(minor)) >= (4, 5)  # before, unsigned uploads came in (seaweedfs#7912)
    (file,) = [word.removeprefix("-s3.config=") for word in container["args"] if word.startswith("-s3.config=")]
    (mount,) = [mount for mount in container["volumeMounts"] if Path(mount["mountPath"]) == Path(file).parent]
    (volume,) = [volume["secret"] for volume in pod["volumes"] if volume["name"] == mount["name"]]
    assert volume["secretName"] == "storage"
    assert volume["items"] == [{"key": "identities", "path": Path(file).name}]


def test_no_manifest_names_a_bucket_which_stands_in_the_secret_alone() -> None:
    assert "s3://" not in "".join(path.read_text() for path in MANIFESTS)
    secret = readme_secret("storage")
    assert secret["artifacts"].startswith(secret["uri"].partition("?")[0] + "/")
    (container,) = [
        c for _, d in documents() for pod in pod_specs(d) for c in pod["containers"] if c["name"] == "mlflow"
    ]
    named = {
        entry["name"]: entry["valueFrom"]["secretKeyRef"]["key"] for entry in container["env"] if "valueFrom" in entry
    }
    assert named["MLFLOW_ARTIFACTS_DESTINATION"] == "artifacts"
    option = next(param for param in server.params if "--artifacts-destination" in param.opts)
    assert option.envvar == "MLFLOW_ARTIFACTS_DESTINATION"


def test_every_key_of_a_secret_that_a_manifest_asks_for_is_made_by_the_readme() -> None:
    asked = [entry for _, document in documents() for entry in references(document)]
    assert asked
    for name, key in asked:
        assert key in readme_secret(name), (name, key)


def references(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if "secretKeyRef" in node:
            yield node["secretKeyRef"]["name"], node["secretKeyRef"]["key"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_no_manifest_holds_a_secret_and_every_secret_they_name_is_made_by_the_readme() -> None:
    assert of_kind("Secret") == []
    named = {name for _, document in documents() for name in secrets_in(document)}
    assert named == {"ray-token", "storage", "postgres"}
    readme = (CLUSTER / "README.md").read_text()
    for name in named:
        assert f"create secret generic {name} " in readme


def secrets_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "secretKeyRef" in node:
            yield node["secretKeyRef"]["name"]
        if "secretName" in node:
            yield node["secretName"]
        for child in node.values():
            yield from secrets_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from secrets_in(child)


def test_policies_deny_all_first_and_name_pods_and_ports_that_exist() -> None:
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind("NetworkPolicy")}
    assert policies.pop("deny-all-ingress") == {"podSelector": {}, "policyTypes": ["Ingress"]}
    services = {service["metadata"]["name"]: service["spec"]["ports"][0]["port"] for service in of_kind("Service")}
    for spec in policies.values():
        app = spec["podSelector"]["matchLabels"].get("app")
        if app is not None:
            assert spec["ingress"][0]["ports"] == [{"port": services[app]}]


def test_kuberay_scales_from_zero_with_the_second_autoscaler_and_the_token() -> None:
    (cluster,) = of_kind("RayCluster")
    spec = cluster["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["authOptions"]["mode"] == "token"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["rayVersion"] == ray.__version__
    for group in spec["workerGroupSpecs"]:
        assert (group["replicas"], group["minReplicas"]) == (0, 0)
        assert group["maxReplicas"] > 0
        assert group["idleTimeoutSeconds"] > 0


# ------------------------------------------------------------------------------------- what the study files ask for


def one_machine() -> Any:
    spec = importlib.util.spec_from_file_location("one_machine", CLUSTER / "one_machine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def groups(name: str) -> dict[str, dict[str, Any]]:
    """The groups of workers of a file, as the launcher has them."""
    if name == "kubernetes":
        (cluster,) = of_kind("RayCluster")
        return {group["groupName"]: kuberay_group(group) for group in cluster["spec"]["workerGroupSpecs"]}
    config = read(CLUSTER / f"{name}.yaml")
    return {kind: group for kind, group in config["available_node_types"].items() if kind != config["head_node_type"]}


def kuberay_group(group: dict[str, Any]) -> dict[str, Any]:
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    resources = {"CPU": int(limits["cpu"]), "GPU": int(limits.get("nvidia.com/gpu", 0))}
    return {"resources": resources, "labels": group["labels"], "max_workers": group["maxReplicas"]}


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


def overrides(command: str) -> list[str]:
    words = shlex.split(command)
    return [words[place + 1] for place, word in enumerate(words) if word == "--set"]


def readme_section(name: str) -> str:
    return (CLUSTER / "README.md").read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def readme_placement(section: str) -> list[str]:
    """The array PLACEMENT of a section of the README, as bash builds it."""
    text = readme_section(section)
    (lines,) = re.findall(r"^PLACEMENT=\(\)\n(?:.*\n)*?PLACEMENT\+=.*student.*$", text, re.MULTILINE)
    script = f'{lines}\nprintf "%q " "${{PLACEMENT[@]}}"'
    return overrides(subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("study", ["cifar10", "cifar10-paper", "cifar100", "digits"])
def test_a_shipped_study_fits_the_clouds_and_kubernetes_as_it_stands_and_with_the_readmes_placement(study: str) -> None:
    file = ROOT / "jobs" / f"{study}.yaml"
    as_it_stands, placed = load(file), load(file, readme_placement("AWS"))
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
    config = load(ROOT / shlex.split(command)[2], overrides(command))
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
    check_fits(load(None, readme_placement("One machine")), "one-machine")


def test_the_job_manifest_runs_a_shipped_study_on_the_groups_of_the_cluster() -> None:
    (job,) = of_kind("RayJob")
    (cluster,) = of_kind("RayCluster")
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    entry = job["spec"]["entrypoint"]
    program, script, study = shlex.split(entry)[:3]
    assert program == "python"
    assert (ROOT / script).is_file()
    config = load(ROOT / study, overrides(entry))
    assert config.data.source == "cifar10"
    check_fits(config, "kubernetes")


def test_the_job_manifest_sets_no_time_to_live_which_kuberay_refuses_where_the_cluster_stays() -> None:
    (job,) = of_kind("RayJob")
    assert not job["spec"].get("shutdownAfterJobFinishes")  # the cluster is not the job's
    assert "ttlSecondsAfterFinished" not in job["spec"]
    assert job["spec"]["activeDeadlineSeconds"] > 0


# ------------------------------------------------------------------------------------------------------ one machine


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `up` says of a folder in which it starts nothing, and writes nothing."""
    before = sorted(folder.iterdir()) if folder.is_dir() else []
    assert one_machine().main(["up", "--folder", str(folder)]) == 2
    assert (sorted(folder.iterdir()) if folder.is_dir() else []) == before
    return capsys.readouterr().err


def test_one_machine_refuses_a_folder_that_others_could_have_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir(mode=0o700)
    for mode in (0o755, 0o720, 0o701):
        folder.chmod(mode)
        assert f"{folder} must be a folder of yours alone" in refused(folder, capsys)
    folder.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert "a folder of yours alone" in refused(link, capsys)
    (tmp_path / "file").touch(mode=0o600)
    assert "a folder of yours alone" in refused(tmp_path / "file", capsys)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert "a folder of yours alone" in refused(folder, capsys)


def test_one_machine_keeps_its_folder_and_a_fresh_token_to_itself(tmp_path: Path) -> None:
    module, folder = one_machine(), tmp_path / "cluster"
    module.keep_to_ourselves(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    module.keep_to_ourselves(folder)  # again: `up` after `down`
    stale = folder / "auth_token"
    stale.symlink_to(tmp_path / "elsewhere")
    tokens = set()
    for _ in range(2):
        token = module.fresh_token(folder)
        assert token == stale
        assert not token.is_symlink()
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        tokens.add(token.read_text())
    assert {len(text) for text in tokens} == {64}
    assert len(tokens) == 2
    assert not (tmp_path / "elsewhere").exists()


def test_one_machine_goes_down_though_a_process_ends_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = one_machine()
    gone = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"{tmp_path}/ray/"])
    found = module.processes_of(tmp_path)
    assert [process.pid for process in found] == [gone.pid]
    gone.kill()
    gone.wait()
    monkeypatch.setattr(module, "processes_of", lambda folder: found)
    assert module.down(tmp_path) == 0
    assert capsys.readouterr().out == "1 processes ended\n"


def test_the_command_on_one_machine_ends_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(CLUSTER / "one_machine.py"), "down", "--folder", str(tmp_path / "ray" / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 processes ended\n", "")
