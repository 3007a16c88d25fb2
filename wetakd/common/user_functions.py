"""Functions that a study file names as `package.module:function`: importing them, and a digest of their source."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wetakd.common.errors import UserError


def _resolve(name: str, field: str) -> Callable[..., Any]:
    """The object that `package.module:callable` names."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise UserError(f"{field}.name: {name!r} cannot be imported: {_brief(error)}") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        file = getattr(module, "__file__", None) or "built-in"
        raise UserError(f"{field}.name: module {module_name!r} ({file}) has no callable {attribute!r}")
    return function  # type: ignore[no-any-return]


def _brief(error: BaseException) -> str:
    """An exception as one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def source_digest(name: str, *, field: str = "model") -> str | None:
    """SHA-256 of the source of a `package.module:callable`: of that module's file, and of the one that defines the
    callable where it is another. None for built-in and torchvision networks. What those files import is not covered.

    Raises:
        UserError: the callable cannot be imported.
    """
    if ":" not in name or name.startswith("torchvision:"):
        return None
    function = _resolve(name, field)
    modules = sorted({name.partition(":")[0], getattr(function, "__module__", None) or ""} - {""})
    digest = hashlib.sha256()
    for module in modules:
        path = getattr(importlib.import_module(module), "__file__", None)
        digest.update(Path(path).read_bytes() if path else module.encode())
    return digest.hexdigest()
