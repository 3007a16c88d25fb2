"""The Ray cluster below a study: joining or starting it, and what it can hold.

Where RAY_ADDRESS names a cluster (a submitted job, a laptop with `ray start`) the study joins it; else it starts a
private one on this machine and ends it afterwards.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from wetakd.common.process_state import set_default_variables, set_level
from wetakd.config import StudyConfig

SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this variable for the entry point of a submitted job, and for nothing else."""

_SWITCHES = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Train's workers stay in the folder that they start in: a user's callable may read files beside it.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A worker group may wait for machines that an autoscaler has yet to start.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "900",
}


def set_switches() -> None:
    """What Ray is told by the environment, unless the user says otherwise there; before `ray.init`."""
    set_default_variables(_SWITCHES)


@contextmanager
def joined(config: StudyConfig) -> Iterator[None]:
    """A connection to the cluster, for the length of the block; a cluster that was there before is left alone."""
    if ray.is_initialized():
        yield
        return
    set_switches()
    set_level("ray", logging.WARNING)
    guard_token()
    ray.init(
        # Not whatever cluster happens to run on this machine: it may be another user's.
        address=os.environ.get("RAY_ADDRESS") or "local",
        # Train's worker groups give their CPUs back through the dashboard's state API.
        include_dashboard=None if os.environ.get("RAY_ADDRESS") else uses_worker_groups(config),
        configure_logging=True,
        logging_level=logging.ERROR,
        log_to_driver=False,
        job_config=_job_config(os.environ.get("RAY_ADDRESS")),
    )
    if threading.current_thread() is threading.main_thread():
        # As Ray has it, but for its stack trace and the alarm that would abort us 3 s later, amid our last words.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
    try:
        yield
    finally:
        ray.shutdown()


class _JobConfig(JobConfig):
    """Keeps Ray from putting the working directory first on the workers' search path: it does so unless this is so."""

    def _runtime_env_has_working_dir(self) -> bool:
        return True


def _job_config(address: str | None) -> JobConfig:
    """Workers search for modules where the driver does, in the same order.

    So they find the functions of a study, and no module of the working directory replaces an installed one. Ray's
    own way remains for a submitted job, which has its uploaded folder, and for a remote client.
    """
    if SUBMITTED in os.environ or (address or "").startswith("ray://"):
        return JobConfig()
    # Each worker puts one after another at the front.
    return _JobConfig(_py_driver_sys_path=[os.path.abspath(folder) for folder in reversed(sys.path)])


def session_folder() -> Path | None:
    """The folder of the private cluster that this process has started; None where it joined one."""
    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path()) if node is not None and node.is_head() else None


def guard_token() -> None:
    """Keep the token of a private cluster readable for this user only; Ray would write one that all users can read.

    A missing token is written only where Ray would write it: joining a cluster without one must not leave a token
    behind, which that cluster's nodes do not have.
    """
    elsewhere = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(elsewhere or "~/.ray/auth_token").expanduser()
    with suppress(OSError):  # it is not ours to change
        if _starts_with_token() and not (elsewhere or "RAY_AUTH_TOKEN" in os.environ or path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(uuid.uuid4().hex)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def _starts_with_token() -> bool:
    """Whether `ray.init` starts a private cluster, and with token authentication, which is Ray's default there."""
    is_private = os.environ.get("RAY_ADDRESS", "") in ("", "local")
    return is_private and os.environ.get("RAY_AUTH_MODE", "token").lower() == "token"


def uses_worker_groups(config: StudyConfig) -> bool:
    """Whether any network of the file is trained by a Ray Train worker group."""
    return any(network.workers != 0 for network in config.networks.values())
