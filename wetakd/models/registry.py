"""Networks by name: built from a study file with seeded initial weights, checked, and measured.

| name | options |
|---|---|
| `plain` | `depth` 2, 4, 6, 8 or 10; `widths`: `cifar10` (default) or `cifar100` |
| `resnet` | `depth` 8, 14, 20, 26, 32, 44, 56 or 110 |
| `wide_resnet` | `depth` 10, 16, 22, 28 or 40; `width` 1 to 16 (default 1) |
| `torchvision:NAME` | a classifier of torchvision.models, with its own keyword arguments (no text); never pretrained |
| `package.module:callable` | see below |

Your own network: a callable that returns an `nn.Module` taking float32 images B x channels x height x width and
returning logits B x classes. It is called with `num_classes=` and `in_channels=`, each only if its signature takes it,
and with the options of the study file. Its initial weights must come from torch's random generator alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wetakd.common.errors import UserError, describe_error
from wetakd.common.user_functions import resolve_function
from wetakd.config import ModelConfig
from wetakd.data.dataset import Dataset
from wetakd.models.architectures import PLAIN, ResNet, WideResNet, plain_cnn
from wetakd.models.cost import InputShape, forward_zeros

RESNET_DEPTHS = (8, 14, 20, 26, 32, 44, 56, 110)
WIDE_DEPTHS = (10, 16, 22, 28, 40)
# In training these two return auxiliary logits beside the logits unless they are told not to.
_WITH_AUXILIARY_LOGITS = ("googlenet", "inception_v3")


def build_model(
    model: ModelConfig,
    shape: InputShape,
    num_classes: int,
    seed: int,
    *,
    field: str = "model",
    trust_code: bool = True,
) -> nn.Module:
    """A new network on the CPU, its initial weights drawn from `seed`; the global random state stays as it was.

    Args:
        trust_code: whether `module:callable` may be imported and called. Pass False for a description that was read
            from a file, unless the user trusts whoever wrote it.

    Raises:
        UserError: a line that begins with `field`: unknown name, option or depth, a callable that is missing, raises
            or is not trusted, a network that cannot read such an image or does not return `num_classes` logits.
    """
    if model.is_function and not trust_code:
        raise UserError(
            f"{field}.name: {model.name!r} is code: a function to import and call; pass trust_code=True to run it"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = _builder(model, shape, num_classes, field)()
        if not isinstance(module, nn.Module):
            raise UserError(f"{field}.name: {model.name!r} returned {type(module).__name__}; it must be an nn.Module")
        _check_output(module, model, shape, num_classes, field)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise UserError(f"{field}: {model.name} has no parameter to train")
    return module


def _builder(model: ModelConfig, shape: InputShape, num_classes: int, field: str) -> Callable[[], Any]:
    name, options = model.name, dict(model.options)
    if name == "plain":
        _check_options(
            options, {"depth": tuple(PLAIN["cifar10"]), "widths": tuple(PLAIN)}, {"widths": "cifar10"}, field
        )
        spec = PLAIN[options["widths"]][options["depth"]]
        return partial(plain_cnn, spec, shape.channels, shape.height, shape.width, num_classes)
    if name == "resnet":
        _check_options(options, {"depth": RESNET_DEPTHS}, {}, field)
        return partial(ResNet, options["depth"], shape.channels, num_classes)
    if name == "wide_resnet":
        _check_options(options, {"depth": WIDE_DEPTHS, "width": tuple(range(1, 17))}, {"width": 1}, field)
        return partial(WideResNet, options["depth"], options["width"], shape.channels, num_classes)
    prefix, colon, rest = name.partition(":")
    if prefix == "torchvision" and colon:
        return _calling(name, _torchvision(rest, options, field), {"num_classes": num_classes, **options}, field)
    if colon:
        given = {"num_classes": num_classes, "in_channels": shape.channels}
        return _user_callable(name, given, options, field)
    raise UserError(
        f"{field}.name: {name!r} is unknown; choose plain, resnet, wide_resnet, torchvision:NAME or module:callable"
    )


def _check_options(
    options: dict[str, Any], allowed: Mapping[str, tuple[Any, ...]], defaults: Mapping[str, Any], field: str
) -> None:
    """Fill in the defaults; every option must be known, given and among its allowed values."""
    for option in options:
        if option not in allowed:
            raise UserError(f"{field}.options.{option}: is not an option here; choose from {list(allowed)}")
    for option, values in allowed.items():
        if option not in options and option not in defaults:
            raise UserError(f"{field}.options.{option}: is required; choose from {list(values)}")
        value = options.setdefault(option, defaults.get(option))
        if type(value) is not type(values[0]) or value not in values:
            raise UserError(f"{field}.options.{option}: {value!r} is not possible; choose from {list(values)}")


def _torchvision(name: str, options: dict[str, Any], field: str) -> Callable[..., Any]:
    from torchvision import models  # brings torch's compiler, which takes as long to import as torch itself

    known = models.list_models(module=models)
    if name not in known:
        raise UserError(
            f"{field}.name: torchvision has no classifier {name!r}; it has {len(known)}, such as {', '.join(known[:4])}"
        )
    for option, value in options.items():
        if option == "num_classes" or option.startswith(("weights", "pretrained")):
            raise UserError(f"{field}.options.{option}: cannot be set; classes follow the data, weights are drawn")
        if _holds_text(value):
            raise UserError(
                f"{field}.options.{option}: {value!r} must be a number, true, false, null or a list of them; "
                "text could name a file, weights or a function"
            )
    fixed = {"aux_logits": False, "init_weights": True} if name in _WITH_AUXILIARY_LOGITS else {}
    return partial(models.get_model, name, weights=None, **fixed)


def _holds_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return any(map(_holds_text, value)) if isinstance(value, list | tuple) else isinstance(value, str)


def _user_callable(name: str, given: Mapping[str, Any], options: Mapping[str, Any], field: str) -> Callable[[], Any]:
    function = resolve_function(name, f"{field}.name")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise UserError(f"{field}.name: {name!r} has no readable signature; wrap it in a function") from None
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    taken = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for option in options:
        if option in given or not (takes_any or option in taken):
            known = [parameter for parameter in taken if parameter not in given]
            raise UserError(f"{field}.options.{option}: is not an option of {name}; it takes {known}")
    arguments = {key: value for key, value in given.items() if takes_any or key in taken}
    return _calling(name, function, {**arguments, **options}, field)


def _calling(name: str, function: Callable[..., Any], arguments: Mapping[str, Any], field: str) -> Callable[[], Any]:
    """`function(**arguments)`, whose failure is the study file's."""

    def call() -> Any:
        try:
            return function(**arguments)
        except (Exception, SystemExit) as error:
            raise UserError(f"{field}: {name} with {dict(arguments)} raised {describe_error(error)}") from error

    return call


def _check_output(module: nn.Module, model: ModelConfig, shape: InputShape, num_classes: int, field: str) -> None:
    size = f"{shape.channels}x{shape.height}x{shape.width}"
    try:
        logits = forward_zeros(module, shape)
    except (Exception, SystemExit) as error:
        raise UserError(f"{field}: {model.name} cannot read an image of {size}: {describe_error(error)}") from error
    if not isinstance(logits, Tensor) or logits.shape != (1, num_classes):
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"{field}: {model.name} returns {got} for one image; it must be logits of [1, {num_classes}]")


def input_shape(dataset: Dataset) -> InputShape:
    """Shape of one image after the transform."""
    transform = dataset.transform
    return InputShape(transform.channels, transform.height, transform.width)


def new_model(model: ModelConfig, dataset: Dataset, seed: int, *, trust_code: bool = True) -> nn.Module:
    """The network with its seeded initial weights; `trust_code` as in `build_model`."""
    return build_model(model, input_shape(dataset), dataset.num_classes, seed, trust_code=trust_code)
