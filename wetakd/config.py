"""The study file: one tree of frozen models, every field with its type, default and meaning.

Unknown keys are errors, and so is a value out of range: `load` turns either into one line that names the field, the
value and what would be right. Objects are built from these models elsewhere and are never stored in them.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from wetakd.errors import UserError
from wetakd.uri import hide

TEACHER = "teacher"
STUDENT = "student"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Strategy = Literal["uniform", "random", "random_search", "de", "greedy", "convex"]
Control = Literal["none", "teacher", "single", "dgkd"]


def _count_or_list(value: Any) -> Any:
    """`seeds: 3` means `seeds: [0, 1, 2]`."""
    return tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


def _one_or_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_one_or_list), Field(min_length=1)]


class Model(BaseModel):
    """What every block of the file shares: frozen, and strict about keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# ---------------------------------------------------------------------------------------------------------- data


class DigitsData(Model):
    """scikit-learn's 1,797 grey 8x8 digits; has no test set of its own."""

    source: Literal["digits"] = "digits"
    max_train_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many images")


class CifarData(Model):
    """CIFAR-10 or CIFAR-100 through torchvision."""

    source: Literal["cifar10", "cifar100"]
    root: str = Field("data", description="folder that holds torchvision's files")
    download: bool = Field(False, description="fetch the files where they are missing (needs a network)")
    max_train_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of train")
    max_test_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of test")


class ParquetData(Model):
    """Parquet in the Hugging Face layout: an image struct with `bytes` and an integer label."""

    source: Literal["parquet"]
    train: Paths = Field(description="files, globs or URIs that pyarrow opens")
    test: Paths | None = Field(None, description="the same for the test set; without it, `splits.test` cuts one")
    image_column: str = Field("img", description="column of structs with a `bytes` field, or of bytes")
    label_column: str = Field("label", description="column of integer class labels")
    max_train_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of train")
    max_test_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of test")


class FolderData(Model):
    """An image folder: one sub-folder a class."""

    source: Literal["folder"]
    train: str = Field(description="folder with one sub-folder a class")
    test: str | None = Field(None, description="the same for the test set; without it, `splits.test` cuts one")
    max_train_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of train")
    max_test_images: Annotated[int, Field(ge=1)] | None = Field(None, description="keep the first so many of test")


class CallableData(Model):
    """Your own loader: returns `(images, labels)` or `(images, labels, test_images, test_labels)`."""

    source: Literal["callable"]
    callable: str = Field(pattern=r"^[\w.]+:\w+$", description="`package.module:function`")
    options: Mapping[str, Any] = Field({}, description="keyword arguments of the function")


DataConfig = Annotated[DigitsData | CifarData | ParquetData | FolderData | CallableData, Field(discriminator="source")]


class SplitsConfig(Model):
    """How the images are divided. `fit` is what remains of the training images."""

    weigh: Fraction = Field(0.1, description="share of the training images that fits the ensemble weights")
    choose: Fraction = Field(0.1, description="share of the training images that chooses the winner")
    test: Fraction | None = Field(None, description="share of all images, where the source has no test set")
    seed: Seed = Field(0, description="seed of the stratified draw")


class TransformConfig(Model):
    """From a stored image to a network's input; used alike by training and by the exported student."""

    size: Annotated[tuple[int, int], Field()] | Annotated[int, Field(ge=4, le=1024)] | None = Field(
        None, description="height and width in pixels (one number: square); without it all images must agree"
    )
    channels: Literal["grey", "rgb", "keep"] = Field("keep", description="`keep` takes what the first image has")
    background: Annotated[int, Field(ge=0, le=255)] = Field(255, description="grey level behind transparent pixels")
    mean: tuple[float, ...] | Literal["auto"] = Field("auto", description="per channel in 0..1; `auto`: of split fit")
    std: tuple[Positive, ...] | Literal["auto"] = Field("auto", description="per channel in 0..1; `auto`: of split fit")


class ViewsConfig(Model):
    """Augmentation as numbered views: the same pixels for teacher, assistants and student."""

    num: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="views a sample; view 0 is the clean image")
    flip: bool = Field(False, description="views 1.. may be mirrored left to right")
    crop_padding: Annotated[int, Field(ge=0, le=64)] = Field(0, description="pixels of zero padding to crop from")
    seed: Seed = Field(0, description="seed of the draw")


# ------------------------------------------------------------------------------------------------------ networks


class ModelConfig(Model):
    """Which network: `plain`, `resnet`, `wide_resnet`, `torchvision:NAME` or `package.module:callable`."""

    name: str = Field(description="`plain`, `resnet`, `wide_resnet`, `torchvision:NAME` or `package.module:callable`")
    options: Mapping[str, Any] = Field({}, description="keyword arguments of the constructor, such as `depth: 8`")


class RecipeConfig(Model):
    """How a network is trained. All of it determines the result and stands in the network's key."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = Field(20, description="passes over the split fit")
    batch_size: Annotated[int, Field(ge=1)] = Field(128, description="images a step, over all workers")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with momentum, or AdamW")
    lr: Positive = Field(0.1, description="peak learning rate")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="of SGD")
    nesterov: bool = Field(False, description="Nesterov's form of the momentum")
    weight_decay: NonNegative = Field(5e-4, description="L2 for SGD, decoupled for AdamW")
    schedule: Literal["cosine", "step", "constant"] = Field("cosine", description="shape of the rate after warm-up")
    warmup_epochs: NonNegative = Field(0.0, description="epochs of linear warm-up")
    milestones: tuple[Fraction, ...] = Field((0.5, 0.75), description="`step`: shares of training where it falls")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="`step`: factor at each milestone")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of the labels' cross-entropy")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the forward and backward pass; `auto`: bfloat16 where the device has it"
    )
    channels_last: bool = Field(True, description="memory layout of the images")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(1, description="CPU threads of torch")

    @model_validator(mode="after")
    def _check(self) -> RecipeConfig:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: {list(self.milestones)} must rise")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0:
            raise ValueError(f"warmup_epochs: {self.warmup_epochs:g} must be less than epochs ({self.epochs})")
        if self.nesterov and (self.momentum == 0 or self.optimizer != "sgd"):
            raise ValueError("nesterov: true needs optimizer sgd with a momentum above 0")
        return self


class DistillationConfig(Model):
    """What a taught network minimises: `ce_weight` x cross-entropy + `alpha` x the distillation loss."""

    loss: Literal["kd", "dkd", "dist"] = Field("kd", description="Hinton's KD, decoupled KD, or DIST")
    temperature: Positive = Field(4.0, description="softens both sides; the loss is scaled by its square")
    alpha: NonNegative = Field(0.9, description="weight of the distillation loss")
    ce_weight: NonNegative | None = Field(None, description="weight of the labels' cross-entropy; default 1 - alpha")
    standardize: bool = Field(False, description="z-score both sides' logits per sample first (arXiv 2403.01427)")
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


class StudentConfig(Model):
    """The small network that must ship."""

    model: ModelConfig
    recipe: RecipeConfig = RecipeConfig()
    distillation: DistillationConfig = DistillationConfig()
    placement: PlacementConfig = PlacementConfig()


class NetworkConfig(StudentConfig):
    """A teacher or an assistant: a node of the graph of networks."""

    taught_by: tuple[str, ...] | None = Field(
        None, description="names of its teachers (mixed evenly); assistants: [teacher] by default, teacher: none"
    )
    workers: Annotated[int, Field(ge=0, le=4096)] | tuple[int, int] = Field(
        0, description="0: one Ray task; n: a Ray Train worker group; [min, max]: an elastic one"
    )


# --------------------------------------------------------------------------------------------------------- study


class WeightsConfig(Model):
    """How the ensemble weights are searched. The search sees the split weigh and nothing else."""

    objective: Literal["accuracy", "log_loss"] = Field("accuracy", description="what de, random_search, greedy seek")
    mixture: Literal["probabilities", "logits"] = Field("probabilities", description="what is averaged")
    temperature: Positive = Field(1.0, description="softmax temperature that the weights are fitted at")
    engine: Literal["fast", "scipy"] = Field("fast", description="of differential evolution")
    max_evaluations: Annotated[int, Field(ge=1)] | None = Field(None, description="cap on candidates, for all")


class Contrast(Model):
    """The one comparison that is declared before the study; over the whole pool."""

    strategy: Strategy = "de"
    against: Strategy = "uniform"


class Sweep(Model):
    """Values of one swept field: a grid, or a distribution to draw from."""

    grid: tuple[Any, ...] | None = Field(None, description="every value is tried")
    uniform: tuple[float, float] | None = Field(None, description="draw evenly between low and high")
    loguniform: tuple[Positive, Positive] | None = Field(None, description="draw evenly in the logarithm")

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        given = [name for name in ("grid", "uniform", "loguniform") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs one of grid, uniform, loguniform, not {given or 'none'}")
        return self


class HalvingConfig(Model):
    """Synchronous successive halving over the swept points: ASHA's rungs, but independent of timing."""

    min_epochs: Annotated[int, Field(ge=1)] = Field(description="epochs of the first rung")
    factor: Annotated[int, Field(ge=2)] = Field(3, description="one in so many goes on to the next rung")


class StudyBlock(Model):
    """What is compared."""

    name: Name = Field(description="names the study's folder and MLflow run")
    seed: Seed = Field(0, description="root of the seeds of teacher and assistants")
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_count_or_list), Field(min_length=1)] = Field(
        (0, 1, 2), description="student seeds, paired across arms; a number n means 0..n-1"
    )
    replicates: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="repeats of teacher, assistants and weights with new seeds"
    )
    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)] = Field(
        ("uniform", "random", "random_search", "de", "greedy", "convex"), description="ways to set the weights"
    )
    subsets: Literal["all"] | tuple[Annotated[int, Field(ge=1)], ...] | tuple[tuple[str, ...], ...] = Field(
        "all", description="`all`, a list of counts such as [2, 3], or a list of lists of names"
    )
    pool: tuple[str, ...] | None = Field(None, description="assistants that may be mixed; default: all of them")
    pool_includes_teacher: bool = Field(False, description="let the teacher join the pool")
    controls: tuple[Control, ...] = Field(
        ("none", "teacher", "single", "dgkd"),
        description="students without distillation, of the teacher, of each assistant, of teacher and all assistants",
    )
    primary: Contrast = Contrast()
    sweep: Mapping[str, Sweep] = Field({}, description="`student.…` fields with the values to try")
    sweep_samples: Annotated[int, Field(ge=1)] = Field(1, description="draws from the swept distributions")
    halving: HalvingConfig | None = None
    max_concurrent: Annotated[int, Field(ge=1)] | None = Field(None, description="trials at once; default: what fits")

    @model_validator(mode="after")
    def _check(self) -> StudyBlock:
        for field in ("seeds", "strategies", "controls"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise ValueError(f"{field}: {list(values)} names a value twice")
        if self.halving and not self.sweep:
            raise ValueError("halving: needs study.sweep, for only swept points may be stopped early")
        for path in self.sweep:
            if not path.startswith(("student.recipe.", "student.distillation.")):
                raise ValueError(f"sweep.{path}: only student.recipe.* and student.distillation.* can be swept")
        return self


class MlflowConfig(Model):
    """Where the study is shown."""

    enabled: bool = True
    tracking_uri: str | None = Field(None, description="default: SQLite beside a local storage")
    experiment: str = Field("wetakd", min_length=1, description="name of the experiment")
    register_as: str | None = Field(None, description="register the winner under this model name")


class LimitsConfig(Model):
    """When to try again, to wait, and to give up."""

    retries: Annotated[int, Field(ge=0, le=1000)] = Field(3, description="of work lost to a dead process or node")
    wait_s: Positive = Field(600.0, description="seconds to wait for resources that the cluster lacks now")
    silent_s: Positive = Field(1800.0, description="seconds without a sign of life after which work is ended")
    memory_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="share of this machine's free memory that the decoded images may take"
    )
    checkpoint_s: NonNegative = Field(30.0, description="least seconds between two checkpoints of a network")


class StudyConfig(Model):
    """A whole study file."""

    study: StudyBlock
    data: DataConfig
    splits: SplitsConfig = SplitsConfig()
    transform: TransformConfig = TransformConfig()
    views: ViewsConfig = ViewsConfig()
    teacher: NetworkConfig
    assistants: Annotated[Mapping[Name, NetworkConfig], Field(min_length=1)]
    student: StudentConfig
    weights: WeightsConfig = WeightsConfig()
    storage: str = Field("./runs", description="folder or URI (s3://, gs://) that keeps everything")
    mlflow: MlflowConfig = MlflowConfig()
    limits: LimitsConfig = LimitsConfig()

    @model_validator(mode="after")
    def _check(self) -> StudyConfig:
        reserved = {TEACHER, STUDENT} & set(self.assistants)
        if reserved:
            raise ValueError(f"assistants.{min(reserved)}: the name is taken; choose another")
        for name, network in self.networks.items():
            for teacher in self.teachers_of(name):
                if teacher not in self.networks:
                    raise ValueError(
                        f"{self._path(name)}.taught_by: {teacher!r} is not a network; choose from {list(self.networks)}"
                    )
            if isinstance(network.workers, tuple) and not 1 <= network.workers[0] <= network.workers[1]:
                raise ValueError(f"{self._path(name)}.workers: {list(network.workers)} must be [min, max], min >= 1")
        self.training_order()
        self._check_pool()
        return self

    def _check_pool(self) -> None:
        for name in self.study.pool or ():
            if name not in self.assistants:
                raise ValueError(f"study.pool: {name!r} is not an assistant; choose from {list(self.assistants)}")
        pool = self.pool
        for subset in self.study.subsets if self.study.subsets != "all" else ():
            if isinstance(subset, int) and subset > len(pool):
                raise ValueError(f"study.subsets: {subset} assistants asked for, but the pool has {len(pool)}")
            for name in subset if isinstance(subset, tuple) else ():
                if name not in pool:
                    raise ValueError(f"study.subsets: {name!r} is not in the pool {list(pool)}")

    @staticmethod
    def _path(name: str) -> str:
        return name if name == TEACHER else f"assistants.{name}"

    @property
    def networks(self) -> dict[str, NetworkConfig]:
        """The teacher and the assistants by name, in the order of the file."""
        return {TEACHER: self.teacher, **self.assistants}

    def teachers_of(self, name: str) -> tuple[str, ...]:
        """Names of the networks that teach `name`: its `taught_by`, or the default of its kind."""
        given = self.networks[name].taught_by
        return given if given is not None else () if name == TEACHER else (TEACHER,)

    def training_order(self) -> list[str]:
        """Network names with every teacher before its pupils; raises ValueError on a cycle."""
        order: list[str] = []
        waiting = list(self.networks)
        while waiting:
            ready = [name for name in waiting if all(teacher in order for teacher in self.teachers_of(name))]
            if not ready:
                raise ValueError(f"taught_by: {waiting} teach each other in a circle; break it")
            order += ready
            waiting = [name for name in waiting if name not in ready]
        return order

    @property
    def pool(self) -> tuple[str, ...]:
        """Names of the networks that may be mixed, in the order of the file."""
        chosen = [name for name in self.assistants if self.study.pool is None or name in self.study.pool]
        return (TEACHER, *chosen) if self.study.pool_includes_teacher else tuple(chosen)

    @property
    def subsets(self) -> list[tuple[str, ...]]:
        """Subsets of the pool to compare, small ones first, the whole pool always among them."""
        wanted, pool = self.study.subsets, self.pool
        if wanted == "all":
            found = [s for n in range(1, len(pool) + 1) for s in itertools.combinations(pool, n)]
        else:
            found = [
                subset
                for item in wanted
                for subset in (
                    itertools.combinations(pool, item)
                    if isinstance(item, int)
                    else [tuple(name for name in pool if name in item)]
                )
            ]
        return sorted(set(found) | {pool}, key=lambda subset: (len(subset), [pool.index(name) for name in subset]))

    def differences(self, other_yaml: str) -> list[str]:
        """Fields in which another file (as `to_yaml` wrote it) asks another question, in dotted form.

        Where things run and are shown (placement, storage, mlflow, limits, max_concurrent) makes no difference.
        """
        mine, other = _leaves(yaml.safe_load(self.to_yaml())), _leaves(yaml.safe_load(other_yaml))
        return [
            field
            for field in {**mine, **other}
            if mine.get(field) != other.get(field)
            and not field.startswith(("storage", "mlflow", "limits", "study.max_concurrent"))
            and ".placement" not in field
        ]

    def to_yaml(self) -> str:
        """The whole file, defaults written out, for the record: URIs without their credentials."""
        return hide(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, width=100))


# ------------------------------------------------------------------------------------------------------- loading


def embedded_study() -> str:
    """The YAML text of the study that `wetakd run` runs when no file is named."""
    return files("wetakd").joinpath("digits.yaml").read_text(encoding="utf-8")


def load(path: str | Path | None, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study file (None: the embedded one), apply `a.b=c` overrides and check it.

    `WETAKD_STORAGE` and `MLFLOW_TRACKING_URI` in the environment stand above the file, and overrides above them.
    Raises UserError with one line that names the field, the value and what would be right.
    """
    tree = _parse(path)
    for variable, field in (("WETAKD_STORAGE", "storage"), ("MLFLOW_TRACKING_URI", "mlflow.tracking_uri")):
        if os.environ.get(variable):
            _set(tree, field, os.environ[variable])
    for override in overrides:
        field, equals, text = override.partition("=")
        if not equals or not field:
            raise UserError(f"--set {override!r}: must read field=value, such as --set student.recipe.epochs=5")
        _set(tree, field, _yaml(text, f"--set {field}"))
    return check(tree)


def check(tree: Any) -> StudyConfig:
    """Build a StudyConfig from plain data; raises UserError with one line for the first thing that is wrong."""
    try:
        return StudyConfig.model_validate(tree)
    except ValidationError as error:
        raise UserError(_one_line(error, tree)) from None


def _parse(path: str | Path | None) -> dict[str, Any]:
    try:
        text = embedded_study() if path is None else Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"study file {str(path)!r}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise UserError(f"study file {str(path)!r}: {reason}") from None
    tree = _yaml(text, f"study file {str(path)!r}")
    if not isinstance(tree, dict):
        raise UserError(f"study file {str(path)!r}: must be a YAML mapping with the blocks study, data, teacher, …")
    return tree


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise UserError(f"{where}: is not valid YAML{at}: {reason}") from None


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of a tree of dicts by its dotted path."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {leaf: value for key, child in tree.items() for leaf, value in _leaves(child, f"{path}.{key}".strip(".")).items()}


def _set(tree: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    node = tree
    for parent in parents:
        child = node.get(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"--set {field}: {parent!r} is not a block")
        # A YAML alias is the same object in several places; only this place is meant.
        node[parent] = dict(child)
        node = node[parent]
    node[last] = value


def _one_line(error: ValidationError, tree: Any) -> str:
    """The first complaint, as `field: value … what would be right`."""
    first = error.errors(include_url=False)[0]
    field, kind, value = _field(first["loc"], tree, first["type"]), first["type"], first.get("input")
    message = first["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{field}: is not a known field; check its spelling and its block"
    if kind == "missing":
        return f"{field}: is required"
    if kind == "value_error":
        inner = "." if re.match(r"[\w.]+: ", message) else ": "
        return f"{field}{inner}{message}" if field else message
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "…"
    return f"{field or 'study file'}: {shown} is not right: {message[0].lower() + message[1:]}"


def _field(location: tuple[int | str, ...], tree: Any, kind: str) -> str:
    """The path of a complaint in the user's file: pydantic's also names the branches of unions that it tried."""
    path, node = [], tree
    for part in location:
        is_key = isinstance(node, dict) and part in node
        if is_key or (isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)):
            node = node[part]
            path.append(str(part))
    if kind == "missing":
        path.append(str(location[-1]))
    return ".".join(path)
