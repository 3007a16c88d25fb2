"""The Kubernetes manifests: valid, without root, and scaling from zero."""

import copy
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml

from tests.project.cluster_files.read_cluster_files import (
    DEFINITIONS,
    documents,
    of_kind,
    pod_specs,
)


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
