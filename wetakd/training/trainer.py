"""The one training loop: teacher, assistant and student alike. Plain torch; knows neither Ray nor MLflow.

Shapes: S steps of an epoch, B batch (of one worker), C classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from wetakd.common.errors import UserError
from wetakd.config import DistillationConfig, RecipeConfig
from wetakd.data.dataset import Dataset
from wetakd.data.views import Views, as_tensor
from wetakd.training.batch_order import World, derive_seed, positions, seeded
from wetakd.training.epoch import Epoch
from wetakd.training.failures import DeterministicError, UserModel, errors_of, user_function
from wetakd.training.inference import Pixels, logits
from wetakd.training.learning_rate import learning_rate
from wetakd.training.objective import Targets, TrainingObjective
from wetakd.training.precision import DTYPES
from wetakd.training.train_state import Checkpoints, TrainState

RECIPE_VERSION = 1
"""Part of every network's key: raise it with any change that alters what the same recipe gives."""


class Diverged(DeterministicError):
    """The loss is no longer a finite number. Training again would end the same way."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(epoch, loss)

    def __str__(self) -> str:
        epoch, loss = self.args
        return f"training diverged in epoch {epoch}: the loss is {loss}; a lower learning rate may help"


def train(
    model: nn.Module,
    dataset: Dataset,
    views: Views,
    recipe: RecipeConfig,
    *,
    seed: int,
    precision: str,
    device: str = "cpu",
    distillation: DistillationConfig | None = None,
    targets: Targets | None = None,
    world: World = World(),  # noqa: B008 (frozen)
    checkpoints: Checkpoints | None = None,
    checkpoint_s: float = 30.0,
    user_model: str | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Generator[Epoch, None, None]:
    """Train `model` in place on the split fit; yields every epoch from the first.

    Epochs that a checkpoint holds come first, as they were recorded, and training goes on from there: on the CPU the
    result is that of an uninterrupted run to the last bit. Whoever stops listening early leaves a checkpoint behind.
    The last epoch counts. With `distillation` and `targets` the loss is label_weight x cross-entropy + alpha x
    distillation, else cross-entropy alone. With `world.size` workers each takes its part of every batch; rank 0
    writes the checkpoints.

    Args:
        model: on any device; moved to `device`.
        precision: a result of `resolve_precision`.
        checkpoint_s: least seconds between two checkpoints.
        user_model: name of the function that made `model`, where it is the user's.
        on_step: called after every training step and every batch of an evaluation, on every worker.

    Raises:
        Diverged: the loss is not finite.
        UserFunctionError: the user's model or loss raised.
        UserError: a batch that cannot be split among the workers, a model without plain logits.
    """
    place = torch.device(device)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    model.to(place).to(memory_format=layout)
    train_state = TrainState(
        model, _optimizer(model, recipe), torch.amp.GradScaler(place.type, enabled=precision == "float16")
    )
    history = _resume(train_state, checkpoints, seed, world, place)
    yield from (replace(epoch, is_stored=True) for epoch in history)
    _check_shapes(targets, (views.num, len(dataset.splits.fit), dataset.num_classes))
    stepped = UserModel(model, user_model) if user_model else model
    course = _Course(
        train_state=train_state,
        network=DistributedDataParallel(stepped) if world.size > 1 else stepped,
        dataset=dataset,
        pixels=Pixels.of(dataset, views, place),
        objective=TrainingObjective(recipe.label_smoothing, distillation, targets),
        recipe=recipe,
        autocast=DTYPES[precision],
        seed=seed,
        world=world,
        user_model=user_model,
        user_loss=user_function(distillation.loss) if distillation else None,
        on_step=on_step,
    )
    keeper = checkpoints if world.rank == 0 else None
    saved_at, saved = time.monotonic(), len(history)

    def save() -> None:
        if keeper is not None and saved < len(history):
            keeper.save(train_state.snapshot({"seed": seed, "history": [epoch.to_dict() for epoch in history]}))

    for number in range(len(history) + 1, recipe.epochs + 1):
        history.append(course.run(number))
        if time.monotonic() - saved_at >= checkpoint_s:
            save()
            saved_at, saved = time.monotonic(), number
        try:
            yield history[-1]
        except GeneratorExit:
            save()
            raise
    model.to(memory_format=torch.contiguous_format)


def _check_shapes(targets: Targets | None, shape: tuple[int, int, int]) -> None:
    for logits_VNC in targets.logits if targets is not None else ():
        if logits_VNC.shape != shape:
            raise ValueError(f"a teacher's logits have shape {logits_VNC.shape}, not {shape}")


def _optimizer(model: nn.Module, recipe: RecipeConfig) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )


def _resume(
    train_state: TrainState, checkpoints: Checkpoints | None, seed: int, world: World, device: torch.device
) -> list[Epoch]:
    """Take over the last checkpoint, if there is one; returns the epochs that it has done."""
    state = checkpoints.load() if checkpoints is not None and world.rank == 0 else None
    if world.size > 1:
        state = _broadcast_bytes(state, device)
    if state is None:
        return []
    facts = train_state.restore(state)
    if facts["seed"] != seed:
        raise ValueError(f"the checkpoint is of seed {facts['seed']}, not {seed}")
    return [Epoch.from_dict(epoch) for epoch in facts["history"]]


def _broadcast_bytes(data: bytes | None, device: torch.device) -> bytes | None:
    """What rank 0 has, on every rank; without pickle."""
    length = torch.tensor(-1 if data is None else len(data), device=device)
    dist.broadcast(length, 0)
    if length.item() < 0:
        return None
    content = torch.zeros(int(length.item()), dtype=torch.uint8)
    if data is not None:
        content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    content = content.to(device)
    dist.broadcast(content, 0)
    return content.cpu().numpy().tobytes()


@dataclass(frozen=True)
class _Course:
    """One training on one worker: what stays the same from epoch to epoch."""

    train_state: TrainState
    network: nn.Module
    dataset: Dataset
    pixels: Pixels
    objective: TrainingObjective
    recipe: RecipeConfig
    autocast: torch.dtype
    seed: int
    world: World
    user_model: str | None
    user_loss: str | None
    on_step: Callable[[], None]

    @property
    def device(self) -> torch.device:
        return self.pixels.images_NCHW.device

    def run(self, epoch: int) -> Epoch:
        """Train for one epoch, then look at the split choose."""
        started = time.monotonic()
        torch.set_num_threads(self.recipe.threads)
        loss, lr = self._train(epoch)
        accuracy, nll = self._evaluate()
        if not math.isfinite(loss) or not math.isfinite(nll):
            raise Diverged(epoch, loss)
        return Epoch(epoch, loss, lr, accuracy, nll, time.monotonic() - started)

    def _train(self, epoch: int) -> tuple[float, float]:
        """One pass over the split fit; returns the mean loss and the rate of the last step."""
        view = (epoch - 1) % self.pixels.views.num
        positions_SB = positions(len(self.dataset.splits.fit), self.recipe.batch_size, self.seed, epoch, self.world)
        ids_SB = as_tensor(self.dataset.splits.fit)[positions_SB]
        labels_SB = as_tensor(self.dataset.labels_N)[ids_SB].to(self.device)
        batches = zip(
            ids_SB.to(self.device),
            labels_SB,
            self.objective.targets_of(view, positions_SB, self.device),
            strict=True,
        )
        num_steps, lr = len(positions_SB), 0.0
        # Summed on the device and read once: reading a loss at every step would make the device wait for us.
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.network.train()
        with seeded(derive_seed(self.seed, epoch, 1 + self.world.rank), self.device):
            for step, (ids_B, labels_B, target_BC) in enumerate(batches, (epoch - 1) * num_steps):
                lr = learning_rate(self.recipe, step, self.recipe.epochs * num_steps)
                total += self._step(self._inputs(ids_B, view), labels_B, target_BC, lr)
                self.on_step()
        if self.world.size > 1:
            dist.all_reduce(total)
        return total.item() / num_steps / self.world.size, lr

    def _inputs(self, ids_B: Tensor, view: int) -> Tensor:
        return self.pixels.inputs(ids_B, view, channels_last=self.recipe.channels_last)

    def _step(self, inputs_BCHW: Tensor, labels_B: Tensor, target_BC: Tensor | None, lr: float) -> Tensor:
        """One update of the weights; returns the loss."""
        optimizer, scaler = self.train_state.optimizer, self.train_state.scaler
        for group in optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast != torch.float32):
            student_BC = self.network(inputs_BCHW)
        if not isinstance(student_BC, Tensor):
            raise UserError(f"model: returned {type(student_BC).__name__} in training; it must return logits alone")
        with errors_of(self.user_loss):
            loss = self.objective.loss(student_BC.to(torch.float32), labels_B, target_BC)
        optimizer.zero_grad()
        # Workers of a group exchange gradients here, and a lost worker is not the user's error.
        with errors_of(None if self.world.size > 1 else self.user_model or self.user_loss):
            torch.autograd.backward(scaler.scale(loss))
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    def _evaluate(self) -> tuple[float, float]:
        """Accuracy and mean negative log-likelihood on the split choose, of which each worker takes its share."""
        model, world = self.train_state.model, self.world
        if world.size > 1:
            # Each worker has followed its own batches; rank 0's running statistics are those that are kept.
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
        choose = self.dataset.splits.choose
        ids_N = torch.from_numpy(choose[world.rank :: world.size].copy()).to(self.device)
        with errors_of(self.user_model):
            logits_NC = logits(model, self.pixels, ids_N, 0, self.dataset.num_classes, self.on_step)
        labels_N = as_tensor(self.dataset.labels_N)[ids_N.cpu()].to(self.device)
        nll = functional.cross_entropy(logits_NC.double(), labels_N, reduction="sum")
        sums = torch.stack([(logits_NC.argmax(1) == labels_N).sum().double(), nll])
        if world.size > 1:
            dist.all_reduce(sums)
        accuracy, mean_nll = (sums / len(choose)).tolist()
        return accuracy, mean_nll
