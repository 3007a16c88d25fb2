"""Networks and half-done trainings as bytes: safetensors, whose header holds the rest as JSON. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from wetakd.common.errors import UserError, one_line

_FACTS = "wetakd"


class Checkpoints(Protocol):
    """Keeps the state of one training."""

    def load(self) -> bytes | None:
        """The state that was saved last, or None."""

    def save(self, state: bytes) -> None:
        """Keep `state` in place of the one before."""


def state_bytes(model: nn.Module) -> bytes:
    """Parameters and buffers as safetensors."""
    return _pack(model.state_dict(), {})


def load_state(model: nn.Module, state: bytes) -> None:
    """Put what `state_bytes` wrote into a network of the same architecture.

    Raises:
        UserError: the file is not safetensors, or its names or shapes are another architecture's.
    """
    try:
        model.load_state_dict(load(state))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"weights: do not fit {type(model).__name__}: {one_line(error, 300)}") from error


@dataclass(frozen=True)
class TrainState:
    """All that changes while training: what a snapshot must hold."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    def snapshot(self, facts: Mapping[str, Any]) -> bytes:
        """The state as bytes; `facts` are plain data."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items() if value is not None}
        return _pack(tensors, {**facts, "scaler": self.scaler.state_dict()})

    def restore(self, state: bytes) -> dict[str, Any]:
        """Take the state of a snapshot over; returns its facts."""
        tensors = load(state)
        facts = _header_facts(state)
        self.model.load_state_dict(_without_prefix("model.", tensors))
        self._restore_optimizer(_without_prefix("optimizer.", tensors))
        self.scaler.load_state_dict(facts.pop("scaler"))
        return facts

    def _restore_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        slots: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, slot = name.split(".")
            parameter = parameters[int(index)]
            if slot != "step":
                # The memory layout of the parameter: another one could round differently in the last bit.
                value = torch.empty_like(parameter).copy_(value).detach()
            slots.setdefault(int(index), {})[slot] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _pack(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    # Cloned, for safetensors refuses tensors that share memory, such as tied weights.
    apart = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return save(apart, {_FACTS: json.dumps(facts, allow_nan=False)})


def _header_facts(state: bytes) -> dict[str, Any]:
    """What `_pack` was given as `facts`, from the header: 8 bytes of length, then JSON."""
    length = int.from_bytes(state[:8], "little")
    facts: dict[str, Any] = json.loads(json.loads(state[8 : 8 + length])["__metadata__"][_FACTS])
    return facts
