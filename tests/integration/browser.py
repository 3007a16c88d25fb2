"""Pages as a person's browser shows them: headless Chromium, where the machine has one."""

import shutil
import subprocess
import tempfile

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing of its own may go out, and no sandbox: tests may run as root in a container.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--window-size=1600,1400",
)


def shown(url: str) -> str:
    """The page's HTML once its scripts have run. Skips where there is no Chromium."""
    binary = next(filter(None, map(shutil.which, _NAMES)), None)
    if binary is None:
        pytest.skip("no Chromium is installed")
    with tempfile.TemporaryDirectory() as profile:
        command = [binary, *_FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=30000", "--dump-dom", url]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240).stdout
