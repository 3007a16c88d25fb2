"""Knowledge distillation through weighted ensembles of teaching assistants, as a distributed study on Ray."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wetakd.common.errors import UserError
    from wetakd.config import StudyConfig
    from wetakd.study import Study, StudyResult

    __version__: str

__all__ = ["Study", "StudyConfig", "StudyResult", "UserError"]

_HOMES = {
    "Study": "wetakd.study",
    "StudyConfig": "wetakd.config",
    "StudyResult": "wetakd.study",
    "UserError": "wetakd.common.errors",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `wetakd.weights` alone costs neither torch, Ray nor MLflow."""
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'wetakd' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("wetakd")
    except PackageNotFoundError:
        raise AttributeError("wetakd is not installed, so it has no __version__") from None
