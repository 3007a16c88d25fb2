"""Secrets of the Kubernetes manifests."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow.cli import server

from tests.project.cluster_files.read_cluster_files import (
    CLUSTER,
    MANIFESTS,
    documents,
    of_kind,
    pod_specs,
    readme_secret,
)


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
