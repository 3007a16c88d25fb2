"""The shipped study files, reduced until a whole study takes a minute."""

from pathlib import Path

from wetakd.config.study_file import load_study_file

JOBS = Path(__file__).parents[1] / "jobs"


def path(name: str) -> Path:
    return JOBS / f"{name}.yaml"


def reduced(name: str, folder: Path, **fields: object) -> list[str]:
    """Overrides: one epoch for every network, two seeds, and everything below `folder`."""
    blocks = [
        "teacher",
        *(f"assistants.{assistant}" for assistant in load_study_file(path(name)).assistants),
        "student",
    ]
    changes: dict[str, object] = {"storage": folder / "runs", "study.seeds": 2, **fields}
    for block in blocks:
        changes |= {f"{block}.recipe.epochs": 1, f"{block}.recipe.warmup_epochs": 0}
    return [f"{field}={value}" for field, value in changes.items()]
