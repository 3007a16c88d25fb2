"""Functions that a study file names as `package.module:function`: importing them, and a digest of their source."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wetakd.common.errors import UserError, describe_error


def resolve_function(name: str, field: str) -> Callable[..., Any]:
    """The object behind `package.module:function`; raises UserError that names `field`."""
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise UserError(f"{field}: {name!r} not found: no module {error.name!r} on PYTHONPATH") from error
    except AttributeError as error:
        raise UserError(f"{field}: {name!r} not found: {describe_error(error)}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{field}: importing {module!r} raised {describe_error(error)}") from error
    if not callable(function):
        raise UserError(f"{field}: {name!r} is {type(function).__name__}, not a function")
    return function  # type: ignore[no-any-return]


def source_digest(name: str, *, field: str = "model.name") -> str | None:
    """SHA-256 of the source of a `package.module:callable`: of that module's file, and of the one that defines the
    callable where it is another. None for built-in and torchvision networks. What those files import is not covered.

    Raises:
        UserError: the callable cannot be imported.
    """
    if ":" not in name or name.startswith("torchvision:"):
        return None
    function = resolve_function(name, field)
    modules = sorted({name.partition(":")[0], getattr(function, "__module__", None) or ""} - {""})
    digest = hashlib.sha256()
    for module in modules:
        path = getattr(importlib.import_module(module), "__file__", None)
        digest.update(Path(path).read_bytes() if path else module.encode())
    return digest.hexdigest()
