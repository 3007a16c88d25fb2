"""Reading the files below `cluster/`, for the tests that check them."""

import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "cluster"
LAUNCHER = sorted(path for path in CLUSTER.glob("*.yaml"))
MANIFESTS = sorted(path for path in (CLUSTER / "kubernetes").glob("*.yaml"))
DEFINITIONS = ROOT.parent / "shared" / "data" / "kuberay-crds"


def read(path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(path.read_text())
    return tree


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


def pod_specs(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for child in node.values():
            yield from pod_specs(child)
    elif isinstance(node, list):
        for child in node:
            yield from pod_specs(child)


def readme_secret(name: str) -> dict[str, str]:
    """The keys and values of a secret, as the README's commands make it, anew each time."""
    commands = readme_section("Kubernetes").partition("```sh\n")[2].partition("```")[0]
    script = f"kubectl() {{ [[ $* != *' generic {name} '* ]] || printf '%s\\0' \"$@\"; }}\n{commands}"
    words = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout.split("\0")
    literals = [word.removeprefix("--from-literal=") for word in words if word.startswith("--from-literal=")]
    return dict(literal.split("=", 1) for literal in literals)


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
