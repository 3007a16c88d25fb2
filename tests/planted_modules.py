"""A working directory whose modules have the names of others: none of them may be executed."""

import os
import subprocess
import sys
from pathlib import Path

# Of the standard library and of packages that wetakd, Ray and MLflow import late.
NAMES = (
    "click",
    "json",
    "mlflow",
    "numpy",
    "pandas",
    "psutil",
    "pyarrow",
    "ray",
    "rich",
    "statistics",
    "torch",
    "yaml",
)
_NETWORK = """
from torch import nn

def make(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))
"""


def plant(folder: Path) -> Path:
    """Write the modules, and `my_networks.py` with a function `make`; returns the file that lists what was executed."""
    marker = folder / "EXECUTED"
    for name in NAMES:
        text = (
            f"with open({str(marker)!r}, 'a') as file:\n    print(__name__, file=file)\nraise ImportError(__file__)\n"
        )
        (folder / f"{name}.py").write_text(text)
    (folder / "my_networks.py").write_text(_NETWORK)
    return marker


def call_in(folder: Path, *words: str, as_module: bool = False) -> subprocess.CompletedProcess[str]:
    """`wetakd WORDS` as a user calls it in `folder`: by the console script, or by `python -m wetakd`."""
    script = [str(Path(sys.executable).with_name("wetakd"))]
    hidden = ("PYTHONPATH", "PYTHONSAFEPATH", "RAY_ADDRESS", "WETAKD_STORAGE", "MLFLOW_TRACKING_URI")
    return subprocess.run(
        [*([sys.executable, "-m", "wetakd"] if as_module else script), *words],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
