"""An autoscaling Ray cluster on this machine alone: `one_machine.py up`, and `one_machine.py down`.

    python cluster/one_machine.py up              # prints what to export
    wetakd submit jobs/digits.yaml ...            # README.md beside this file
    python cluster/one_machine.py down

The head computes nothing; nodes come and go as `one-machine.yaml` says. Everything lies in one folder, and `down` ends
exactly the processes that use it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from ray._private import ray_constants
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider

CONFIG = Path(__file__).with_name("one-machine.yaml")
HOST = "127.0.0.1"
# What Ray's own reader of such a file wants to see, though nothing here has a use for it.
_EMPTY: dict[str, Any] = {
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    "cluster_synced_files": [],
    "rsync_exclude": [],
    "rsync_filter": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}


class Provider(FakeMultiNodeProvider):
    """Ray's provider of nodes on this machine, each with a place of its own for the files of jobs."""

    def _create_node_with_resources_and_labels(self, *arguments: Any) -> None:
        with self.lock:
            # Its nodes would share one, and a node that starts unpacks a job's files over those that others are using.
            ray_constants.DEFAULT_RUNTIME_ENV_DIR_NAME = f"runtime_resources_{self._next_node_id + 1}"
            super()._create_node_with_resources_and_labels(*arguments)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["up", "down"])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/wetakd-cluster"), help="at most 50 characters")
    parser.add_argument("--port", type=int, default=6379, help="of the head; the two above it are used as well")
    parser.add_argument("--dashboard-port", type=int, default=8265)
    given = parser.parse_args(arguments)
    if given.what == "down":
        return down(given.folder.absolute())
    return up(given.folder.absolute(), given.port, given.dashboard_port)


def up(folder: Path, port: int, dashboard_port: int) -> int:
    """Start the head, which starts the rest when there is work."""
    if processes_of(folder):
        print(f"a cluster runs in {folder} already", file=sys.stderr)
        return 2
    try:
        keep_to_ourselves(folder)
    except PermissionError as error:
        print(error, file=sys.stderr)
        return 2
    token = fresh_token(folder)
    config = folder / "autoscaler.yaml"
    config.write_text(yaml.safe_dump(autoscaler_config(f"{HOST}:{port}")))
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--num-cpus=0", "--disable-usage-stats"),
        *(f"--node-ip-address={HOST}", f"--port={port}", f"--ray-client-server-port={port + 1}"),
        *(f"--dashboard-host={HOST}", f"--dashboard-port={dashboard_port}"),
        *(f"--dashboard-agent-listen-port={port + 2}", "--min-worker-port=0", "--max-worker-port=0"),
        *(f"--temp-dir={folder}/ray", f"--autoscaling-config={config}"),
    ]
    with (folder / "up.log").open("wb") as log:
        # Away from this folder: a directory named `ray` there would hide the package.
        done = subprocess.run(command, env=_environment(token), cwd=folder, stdout=log, stderr=log, check=False)
    if done.returncode:
        print(f"Ray did not start; {log.name} says why", file=sys.stderr)
        down(folder)
        return 1
    print(f"export RAY_API_SERVER_ADDRESS=http://{HOST}:{dashboard_port}")
    print(f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={token}")
    return 0


def keep_to_ourselves(folder: Path) -> None:
    """Make the folder. Whoever could write to it, or read the token in it, could run code as us.

    Raises:
        PermissionError: it is there already, and it is a link, somebody else's, or open to others.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} must be a folder of yours alone (mode 700); remove it or name another")


def fresh_token(folder: Path) -> Path:
    """Write a new token into a new file that nobody else can read."""
    token = folder / "auth_token"
    token.unlink(missing_ok=True)
    with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return token


def autoscaler_config(gcs_address: str) -> dict[str, Any]:
    """The file beside this script, completed for a head at this address."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    config["provider"] |= {"gcs_address": gcs_address, "head_node_id": FAKE_HEAD_NODE_ID}
    return _EMPTY | config


def _environment(token: Path) -> dict[str, str]:
    """What the head, its autoscaler and, by inheritance, every node are told."""
    return os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join([str(CONFIG.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_JOB_STOP_WAIT_TIME_S": "30",  # for the driver of a study that is stopped to close its runs
        "RAY_enable_autoscaler_v2": "1",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        "AUTOSCALER_UPDATE_INTERVAL_S": os.environ.get("AUTOSCALER_UPDATE_INTERVAL_S", "1"),
    }


def down(folder: Path) -> int:
    """End the cluster's processes, nodes included, and no others."""
    found = processes_of(folder)
    for process in found:
        with suppress(psutil.NoSuchProcess):  # nodes end by themselves as well
            process.kill()
    psutil.wait_procs(found, timeout=20)
    print(f"{len(found)} processes ended")
    return 0


def processes_of(folder: Path) -> list[psutil.Process]:
    """The Ray processes in `folder`; the workers among them end with their node. Never the caller or its parents."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = (process for process in psutil.process_iter(["cmdline"]) if process.pid not in ours)
    return [process for process in found if any(f"{folder}/ray/" in word for word in process.info["cmdline"] or ())]


if __name__ == "__main__":
    sys.exit(main())
