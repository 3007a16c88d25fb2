"""The files in docker/: valid for those who read them, and set up as the README of the cluster files says."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())


def compose_schema() -> dict[str, Any]:
    schema = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json")
    tree: dict[str, Any] = json.loads(schema.read_text())
    return tree


def test_compose_accepts_the_file_and_would_find_a_typing_error() -> None:
    validator = jsonschema.Draft202012Validator(compose_schema())
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    wrong = json.loads(json.dumps(COMPOSE))
    wrong["services"]["worker"]["depend_on"] = ["head"]
    assert len(list(validator.iter_errors(wrong))) == 1


def test_hadolint_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert linter is not None
    done = subprocess.run([linter, str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_pinned_and_no_root() -> None:
    assert re.search(r"^ARG BASE_IMAGE=\S+\nFROM|^FROM \$\{BASE_IMAGE\}$", DOCKERFILE, re.MULTILINE)
    for install in re.findall(r"pip install .*", DOCKERFILE):
        assert "-c constraints.txt" in install or "--no-deps" in install
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users[-1] == "1000"
    assert "HEALTHCHECK" in DOCKERFILE
    assert "RAY_AUTH_MODE=token" in DOCKERFILE


def test_the_image_copies_nothing_of_its_base_only_to_change_an_owner() -> None:
    # rayproject/ray has Anaconda in /home/ray, and a change of owner copies every file into a new layer.
    recursive = re.findall(r"chown -R \S+ (\S+)", DOCKERFILE)
    assert recursive == ["/home/ray/wetakd"]


def test_what_the_image_copies_is_there_and_is_sent_to_the_builder() -> None:
    ignore = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignore
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists()
            assert f"!{source}" in ignore


def test_the_layer_of_dependencies_has_all_that_the_project_requires() -> None:
    command = [sys.executable, str(DOCKER / "requirements.py"), str(ROOT / "pyproject.toml"), "cluster"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout.splitlines() == project["dependencies"] + project["optional-dependencies"]["cluster"]


@pytest.mark.parametrize("name", ["head", "mlflow"])
def test_what_people_open_listens_on_this_machine_alone(name: str) -> None:
    assert COMPOSE["services"][name]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"][name]["ports"])


def test_no_other_service_is_open_and_each_says_how_it_feels() -> None:
    services = COMPOSE["services"]
    assert {name for name, service in services.items() if "ports" in service} == {"head", "mlflow"}
    for name, service in services.items():
        assert service["healthcheck"] == {"disable": True} if name == "bucket" else service["healthcheck"]["test"]
        assert "no-new-privileges:true" in service["security_opt"]


def test_every_service_is_bounded_has_no_privilege_and_writes_to_volumes_and_temporary_files_alone() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"]
        assert limits["cpus"]
        # Ray spills objects there, which memory is no place for: a volume without a name, so each worker has its own.
        assert "/tmp" in service["volumes" if name in ("head", "worker") else "tmpfs"]
        if service["image"].startswith("${WETAKD_IMAGE"):
            assert name == "bucket" or service["environment"]["HOME"] == "/tmp"
        else:
            assert int(service["user"].partition(":")[0]) > 0
    assert any(mount.startswith("/var/run/postgresql:") for mount in COMPOSE["services"]["postgres"]["tmpfs"])
    # An inline config cannot be put into a container whose root is read-only (compose#12031).
    assert "configs" not in COMPOSE


def test_ray_has_the_token_room_for_its_objects_and_storage_that_outlives_it() -> None:
    for name in ("head", "worker"):
        service = COMPOSE["services"][name]
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["shm_size"]
        assert service["environment"]["WETAKD_STORAGE"].startswith("s3://")
    head, worker = (COMPOSE["services"][name] for name in ("head", "worker"))
    assert "--num-cpus=0" in head["command"]
    # Scalable: no name and no port of its own.
    assert "container_name" not in worker
    assert head["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    # So long may a driver that is stopped close its runs.
    assert head["environment"]["RAY_JOB_STOP_WAIT_TIME_S"] == "30"


def test_storage_knows_one_key_from_the_environment_and_lets_nobody_else_in(tmp_path: Path) -> None:
    service = COMPOSE["services"]["storage"]
    # By a file: which releases of SeaweedFS take keys from AWS_ACCESS_KEY_ID varies (seaweedfs#7311).
    assert set(service["environment"]) == {"S3_ACCESS_KEY", "S3_SECRET_KEY"}
    assert service["entrypoint"] == ["/bin/sh", "-euc"]
    (script,) = service["command"]
    assert "exec weed server " in script
    # Its master, volumes and filer know no keys at all.
    assert {"-ip=127.0.0.1", "-s3.ip.bind=0.0.0.0"} <= set(script.split())
    (major, minor) = re.findall(r"seaweedfs:(\d+)\.(\d+)", service["image"])[0]
    assert (int(major), int(minor)) >= (4, 5)  # before, unsigned uploads came in (seaweedfs#7912)
    (file,) = re.findall(r"-s3.config=(\S+)", script)
    # Nothing but the start of the server is left out, and `$$` is how a compose file writes `$`.
    script = script.replace("$$", "$").partition("exec weed")[0].replace(file, str(tmp_path / "identities.json"))
    keys = {"S3_ACCESS_KEY": "wetakd", "S3_SECRET_KEY": "0123abc"}
    subprocess.run([*service["entrypoint"], script], env=keys, check=True)
    (identity,) = json.loads((tmp_path / "identities.json").read_text())["identities"]
    assert identity["name"] != "anonymous"
    assert identity["credentials"] == [{"accessKey": "wetakd", "secretKey": "0123abc"}]
    assert (tmp_path / "identities.json").stat().st_mode & 0o077 == 0
    assert subprocess.run([*service["entrypoint"], script], env={}, capture_output=True, check=False).returncode


def test_mlflow_knows_the_name_by_which_studies_call_it_and_keeps_its_runs_in_postgres() -> None:
    service = COMPOSE["services"]["mlflow"]
    (hosts,) = re.findall(r"--allowed-hosts (\S+)", service["command"])
    own, _, yours = hosts.partition("${")
    assert "mlflow:5000" in own.split(",")
    # Yours come after ours, whatever there are of them.
    assert yours == "MLFLOW_ALLOWED_HOSTS:+,${MLFLOW_ALLOWED_HOSTS}}"
    assert "MLFLOW_ALLOWED_HOSTS=\n" in (DOCKER / "example.env").read_text()
    readme = (ROOT / "cluster" / "README.md").read_text()
    assert "`MLFLOW_ALLOWED_HOSTS`" in readme
    # With its driver named: which one SQLAlchemy takes by default depends on its version.
    assert service["environment"]["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql+psycopg2://")


def needs(name: str) -> set[str]:
    """The services that `docker compose up NAME` starts as well."""
    direct = set(COMPOSE["services"][name].get("depends_on", ()))
    return direct.union(*map(needs, direct))


def test_mlflow_alone_builds_its_image_and_has_its_database_and_its_bucket() -> None:
    services = COMPOSE["services"]
    assert needs("mlflow") == {"postgres", "storage", "bucket"}
    assert services["mlflow"]["depends_on"]["bucket"]["condition"] == "service_completed_successfully"
    assert services["bucket"]["depends_on"]["storage"]["condition"] == "service_healthy"
    assert services["bucket"]["restart"] == "no"
    *python, script = services["bucket"]["command"]
    assert python == ["python", "-c"]
    compile(script, "bucket", "exec")
    (destination,) = re.findall(r"--artifacts-destination s3://(\w+)/", services["mlflow"]["command"])
    assert f'create_bucket(Bucket="{destination}")' in script
    for service in services.values():
        if service["image"] == services["mlflow"]["image"]:
            assert ("build" in service) == (service is services["mlflow"])
    assert "mlflow" in needs("head") & needs("worker")


def test_every_secret_comes_from_a_file_that_git_does_not_see() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == {"RAY_AUTH_TOKEN", "POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}
    example = dict(line.split("=", 1) for line in (DOCKER / "example.env").read_text().splitlines() if "=" in line)
    assert required < set(example)
    assert "docker/.env" in (ROOT / ".gitignore").read_text().splitlines()
