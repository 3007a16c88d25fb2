"""The blocks of teacher, assistants and student: which network, trained how, taught by whom, placed where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from wetakd.config.field_types import Fraction, Model, NonNegative, Plain, Positive, Switch, Text, named_once

_Workers = Annotated[int, Field(ge=1, le=4096)]
LOSSES = ("kd", "dkd", "dist")
TORCHVISION = "torchvision:"
"""Prefix of a model name that torchvision's registry resolves; any other name with a colon is a user's function."""
ELSEWHERE = "elsewhere"
"""Name of the model behind logits that came from elsewhere."""


def _loss(value: str) -> str:
    if value not in LOSSES and not re.fullmatch(r"[\w.]+:\w+", value):
        raise ValueError(f"{value!r} must be one of {', '.join(LOSSES)}, or package.module:function")
    return value


class ModelConfig(Model):
    """Which network: `plain`, `resnet`, `wide_resnet`, `torchvision:NAME` or `package.module:callable`."""

    name: Text = Field(description="`plain`, `resnet`, `wide_resnet`, `torchvision:NAME` or `package.module:callable`")
    options: Mapping[str, Plain] = Field({}, description="keyword arguments of the constructor, such as `depth: 8`")

    @property
    def is_function(self) -> bool:
        """Whether building this model imports and calls a Python function that the name gives."""
        return ":" in self.name and not self.name.startswith(TORCHVISION)


class RecipeConfig(Model):
    """How a network is trained. All of it determines the result and stands in the network's key."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = Field(20, description="passes over the split fit")
    batch_size: Annotated[int, Field(ge=1)] = Field(128, description="images a step, over all workers")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with momentum, or AdamW")
    lr: Positive = Field(0.1, description="peak learning rate")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="of SGD")
    nesterov: Switch = Field(False, description="Nesterov's form of the momentum")
    weight_decay: NonNegative = Field(5e-4, description="L2 for SGD, decoupled for AdamW")
    schedule: Literal["cosine", "step", "constant"] = Field("cosine", description="shape of the rate after warm-up")
    warmup_epochs: NonNegative = Field(0.0, description="epochs of linear warm-up")
    milestones: tuple[Fraction, ...] = Field((0.5, 0.75), description="`step`: shares of training where it falls")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="`step`: factor at each milestone")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of the labels' cross-entropy")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the forward and backward pass; `auto`: bfloat16 where the device has it"
    )
    channels_last: Switch = Field(True, description="memory layout of the images")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(1, description="CPU threads of torch")

    @model_validator(mode="after")
    def _check(self) -> RecipeConfig:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: {list(self.milestones)} must rise")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            raise ValueError(f"warmup_epochs: must be less than epochs ({self.epochs}), got {self.warmup_epochs:g}")
        if self.nesterov and (self.momentum == 0 or self.optimizer != "sgd"):
            raise ValueError("nesterov: true needs optimizer sgd with a momentum above 0")
        return self


class DistillationConfig(Model):
    """What a taught network minimises: `ce_weight` x cross-entropy + `alpha` x the distillation loss."""

    loss: Annotated[str, AfterValidator(_loss)] = Field(
        "kd", description="`kd` (Hinton), `dkd` (decoupled), `dist`, or a loss of your own, `package.module:function`"
    )
    temperature: Positive = Field(4.0, description="softens both sides; the loss is scaled by its square")
    alpha: NonNegative = Field(0.9, description="weight of the distillation loss")
    ce_weight: NonNegative | None = Field(None, description="weight of the labels' cross-entropy; default 1 - alpha")
    standardize: Switch = Field(False, description="z-score both sides' logits per sample first (arXiv 2403.01427)")
    dkd_beta: NonNegative = Field(8.0, description="`dkd`: weight of the non-target part")
    dist_intra: NonNegative = Field(1.0, description="`dist`: weight of the relation within a class")

    @model_validator(mode="after")
    def _check(self) -> DistillationConfig:
        if self.ce_weight is None and self.alpha > 1:
            raise ValueError(f"ce_weight: must be given where alpha ({self.alpha:g}) is above 1")
        if self.alpha == 0 and self.ce_weight == 0:
            raise ValueError("alpha: 0 with ce_weight 0 leaves nothing to learn from")
        return self

    @property
    def label_weight(self) -> float:
        """Weight of the labels' cross-entropy."""
        return 1.0 - self.alpha if self.ce_weight is None else self.ce_weight


class PlacementConfig(Model):
    """What one worker asks of the cluster. Never in a key: it changes where, not what."""

    cpus: NonNegative = Field(1.0, description="CPUs a worker")
    gpus: NonNegative = Field(0.0, description="GPUs a worker, fractions allowed; above 0 it trains on CUDA")
    resources: Mapping[str, Positive] = Field({}, description="custom Ray resources a worker")
    labels: Mapping[str, str] = Field({}, description="Ray node labels that a worker's node must have")

    @model_validator(mode="after")
    def _check(self) -> PlacementConfig:
        if not (self.cpus or self.gpus or self.resources):
            raise ValueError("cpus: 0 with nothing else asks for nothing; give cpus, gpus or resources")
        return self


class StudentConfig(Model):
    """The small network that must ship."""

    model: ModelConfig
    recipe: RecipeConfig = RecipeConfig()
    distillation: DistillationConfig = DistillationConfig()
    placement: PlacementConfig = PlacementConfig()


class NetworkConfig(StudentConfig):
    """A teacher or an assistant: a node of the graph of networks, trained here or brought along."""

    taught_by: tuple[str, ...] | None = Field(
        None, description="names of its teachers (mixed evenly); assistants: [teacher] by default, teacher: none"
    )
    workers: Annotated[int, Field(ge=0, le=4096)] | tuple[_Workers, _Workers] = Field(
        0, description="0: one Ray task; n: a Ray Train worker group; [min, max]: an elastic one"
    )

    checkpoint: Text | None = Field(
        None, description="weights of `model`, used as they are: safetensors, or a state_dict that torch.save wrote"
    )
    logits: Text | None = Field(
        None,
        description="what a network elsewhere says of every image (.npy, .npz, .parquet); there is no `model` then",
    )
    trained_on: Literal["fit", "train", "other", "unknown"] | None = Field(
        None,
        description="of a checkpoint or logits: the split fit, all training images, other images, or nobody knows; "
        "with `train` and `unknown` it is mixed only where `study.pool` names it",
    )

    @property
    def is_imported(self) -> bool:
        """Whether it was trained elsewhere."""
        return self.checkpoint is not None or self.logits is not None

    @model_validator(mode="before")
    @classmethod
    def _name_the_model_elsewhere(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and tree.get("logits") is not None:
            return {"model": {"name": ELSEWHERE}, **tree}
        return tree

    @model_validator(mode="after")
    def _check_imported(self) -> NetworkConfig:
        if self.checkpoint is not None and self.logits is not None:
            raise ValueError("logits: cannot stand beside checkpoint; give one of them")
        if self.is_imported and self.trained_on is None:
            raise ValueError(
                "trained_on: is required for a network from elsewhere; choose fit, train, other or unknown"
            )
        if self.trained_on is not None and not self.is_imported:
            raise ValueError("trained_on: has a meaning only beside checkpoint or logits")
        if self.logits is not None and self.model != ModelConfig(name=ELSEWHERE):
            raise ValueError("model: has no meaning beside logits; leave it out")
        idle = {"recipe": RecipeConfig(), "distillation": DistillationConfig(), "taught_by": None, "workers": 0}
        for field, default in idle.items():
            if self.is_imported and getattr(self, field) != default:
                raise ValueError(f"{field}: has no meaning for a network that is not trained; leave it out")
        return self

    @field_validator("taught_by")
    @classmethod
    def _check_taught_by(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return value if value is None else named_once(value)
