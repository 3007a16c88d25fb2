"""Networks that cannot be built, cannot read the images, or say something else than logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.bad_input.study_files import BASE
from tests.bad_input.wrong_input import WrongInput

# What `package.module:callable` returns, for digits: 1 x 8 x 8 pixels, 10 classes.
_NETS: Mapping[str, str] = {
    "a class too few": "nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes - 1))",
    "a class too many": "nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes + 1))",
    "one output": "nn.Sequential(nn.Flatten(), nn.Linear(64, 1))",
    "a map of logits": "nn.Conv2d(in_channels, num_classes, 1)",
    "wrong input": "nn.Sequential(nn.Flatten(), nn.Linear(63, num_classes))",
    "wrong channels": "nn.Sequential(nn.Conv2d(7, 4, 3), nn.Flatten(), nn.LazyLinear(num_classes))",
    "too deep for the image": "nn.Sequential(nn.MaxPool2d(16), nn.Flatten(), nn.LazyLinear(num_classes))",
    "no parameter": "nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 64)), nn.AdaptiveAvgPool1d(10), nn.Flatten())",
    "frozen": "nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes)).requires_grad_(False)",
    "not a network": "7",
    "nothing": "None",
    "a class": "nn.Linear",
    "a list": "[nn.Flatten(), nn.Linear(64, num_classes)]",
    "too large": "nn.Linear(64, 10**13)",
    "raises": "1 / 0",
    "leaves": "exit(3)",
    "a tuple": "Odd(lambda x, net: (net(x), net(x)))",
    "a dictionary": "Odd(lambda x, net: {'logits': net(x)})",
    "None as logits": "Odd(lambda x, net: None)",
    "integers": "Odd(lambda x, net: net(x).long())",
    "logits without a gradient": "Odd(lambda x, net: net(x).detach())",
    "the batch as one image": "Odd(lambda x, net: net(x).mean(0, keepdim=True))",
    "raises forward": "Odd(lambda x, net: 1 / 0)",
    "raises in training": "Odd(lambda x, net: net(x) if not net.training else 1 / 0)",
    "a tuple in training": "Odd(lambda x, net: net(x) if not net.training else (net(x), net(x)))",
    "one image only": "Odd(lambda x, net: net(x.reshape(1, -1)))",
    "leaves forward": "Odd(lambda x, net: exit(0))",
}
_HEAD = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.net, self.odd = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), forward

    def forward(self, x):
        return self.odd(x, self.net)

def make(num_classes, in_channels):
    return """
_NAMES: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("plain", {}),
    ("plain", {"depth": 3}),
    ("plain", {"depth": "2"}),
    ("plain", {"depth": None}),
    ("plain", {"depth": 2.0}),
    ("plain", {"depth": True}),
    ("plain", {"depth": [2]}),
    ("plain", {"depth": 2, "widths": "imagenet"}),
    ("plain", {"depth": 2, "width": 2}),
    ("resnet", {}),
    ("resnet", {"depth": 9}),
    ("resnet", {"depth": -20}),
    ("resnet", {"depth": 10**9}),
    ("wide_resnet", {"depth": 16, "width": 0}),
    ("wide_resnet", {"depth": 16, "width": 17}),
    ("wide_resnet", {"depth": 17}),
    ("Plain", {"depth": 2}),
    ("unknown", {}),
    (" ", {}),
    ("../plain", {}),
    (":", {}),
    ("a:", {}),
    (":a", {}),
    ("torchvision:", {}),
    ("torchvision:resnet19", {}),
    ("torchvision:../resnet18", {}),
    ("torchvision:resnet18", {"nonsense": 1}),
    ("torchvision:resnet18", {"weights": "DEFAULT"}),
    ("torchvision:resnet18", {"num_classes": 3}),
    ("torchvision:alexnet", {}),
    ("nowhere.at.all:make", {}),
    ("os:nothing", {}),
    ("os:name", {}),
    ("os:getcwd", {}),
    ("os.path:join", {"a": 1}),
    ("builtins:dict", {}),
    ("sys:exit", {}),
    ("torch.nn:Linear", {"in_features": 64, "out_features": 10}),
    ("torch.nn:Linear", {"in_features": -1, "out_features": 10}),
    ("torch.nn:Identity", {}),
    ("torch.nn:Nothing", {}),
)


def wrong_inputs() -> Iterator[WrongInput]:
    """All of them."""
    for number, (what, net) in enumerate(_NETS.items()):
        name = f"bad_nets_{number}"
        yield _wrong_input(what, f"{name}:make", {}, {f"{name}.py": f"{_HEAD}{net}\n".encode()})
    for name, options in _NAMES:
        yield _wrong_input(f"{name} {dict(options)}", name, options, {})
    for number, options in enumerate(
        (
            {"nonsense": 1},
            {"num_classes": 3},
            {"scale": float("nan")},
            {"scale": [float("inf")]},
            {"scale": {1: 2}},
            {"scale": b"1"},
            {"scale": {"a", "b"}},
        )
    ):
        name = f"bad_nets_{100 + number}"
        net = "nn.Sequential(nn.Flatten(), nn.Linear(64, 10))"
        module = f"from torch import nn\ndef make(scale=1):\n    return {net}\n"
        yield _wrong_input(f"options {options}", f"{name}:make", options, {f"{name}.py": module.encode()})
    for what, module in {"does not compile": b"def make(:", "raises": b"1 / 0", "leaves": b"raise SystemExit"}.items():
        name = f"bad_nets_{what.replace(' ', '_')}"
        yield _wrong_input(f"a module that {what}", f"{name}:make", {}, {f"{name}.py": module})


def _wrong_input(what: str, name: str, options: Mapping[str, Any], files: Mapping[str, bytes]) -> WrongInput:
    tree = BASE | {"student": BASE["student"] | {"model": {"name": name, "options": dict(options)}}}  # type: ignore[operator]
    study = yaml.safe_dump(tree).encode()
    return WrongInput(
        "network", what, ("run", "study.yaml", "--quiet"), {"study.yaml": study, **files}, ("student.model",)
    )
