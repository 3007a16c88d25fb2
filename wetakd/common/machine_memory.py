"""Free memory of this machine or container."""

from __future__ import annotations

from pathlib import Path


def free_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes; inside a container its own limit counts where that is lower than the machine's."""
    free = _machine_memory()
    try:
        limit, used = (int((cgroup / f"memory.{name}").read_text()) for name in ("max", "current"))
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such file, or the limit is "max"
        return free
    # File cache counts as used, but is given back when memory runs short.
    return max(0, min(free, limit - used + int(statistics.get("inactive_file", 0))))


def _machine_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if "MemAvailable" in line) * 1024
    except (OSError, StopIteration):  # not Linux
        import psutil

        return int(psutil.virtual_memory().available)
