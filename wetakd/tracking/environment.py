"""What a study ran on: versions, machine, and the commit of the code that was run."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import psutil

_PACKAGES = ("wetakd", "torch", "torchvision", "ray", "mlflow", "numpy", "scipy", "pyarrow")


def environment() -> dict[str, str]:
    """Versions and hardware of the machine that runs the driver."""
    memory_gb = psutil.virtual_memory().total / 1e9
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": f"{os.cpu_count()} x {platform.machine()}",
        "memory": f"{memory_gb:.0f} GB",
        **{name: _package_version(name) for name in _PACKAGES},
    }


def code_version() -> dict[str, str]:
    """Tags that say which code ran: wetakd's version, and the commit of the folder that the study was started in."""
    tags = {"wetakd.version": _package_version("wetakd")}
    try:
        told = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return tags
    return tags | {"mlflow.source.git.commit": told.stdout.strip()}


def _package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
