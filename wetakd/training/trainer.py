"""The one training loop: teacher, assistant and student alike. Plain torch; knows neither Ray nor MLflow.

Shapes: S steps of an epoch, B batch (of one worker), C classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

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


class Diverged(DeterministicError):
    """The loss is no longer a finite number. Training again would end the same way."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(epoch, loss)

    def __str__(self) -> str:
        epoch, loss = self.args
        return f"training diverged in epoch {epoch}: the loss is {loss}; a lower learning rate may help"


class Trainer:
    """Trains one network on the split fit; this process is one worker of the training.

    The loss is label_weight x cross-entropy + alpha x distillation where `distillation` and `targets` are given, else
    cross-entropy alone. With `world.size` workers each takes its part of every batch; rank 0 writes the checkpoints.

    Args:
        model: on any device; moved to `device` and trained in place.
        precision: `float32`, `bfloat16` or `float16`; never `auto`.
        checkpoint_s: least seconds between two checkpoints.
        user_model: name of the function that made `model`, where it is the user's.
        on_step: called after every training step and every batch of an evaluation, on every worker.
    """

    def __init__(
        self,
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
    ) -> None:
        _check_shapes(targets, (views.num, len(dataset.splits.fit), dataset.num_classes))
        place = torch.device(device)
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        model.to(place).to(memory_format=layout)
        scaler = torch.amp.GradScaler(place.type, enabled=precision == "float16")
        self._train_state = TrainState(model, _optimizer(model, recipe), scaler)
        stepped = UserModel(model, user_model) if user_model else model
        self._network = DistributedDataParallel(stepped) if world.size > 1 else stepped
        self._dataset = dataset
        self._pixels = Pixels.of(dataset, views, place)
        self._device = self._pixels.images_NCHW.device
        self._objective = TrainingObjective(recipe.label_smoothing, distillation, targets)
        self._recipe = recipe
        self._autocast = DTYPES[precision]
        self._seed = seed
        self._world = world
        self._checkpoints = checkpoints if world.rank == 0 else None
        self._checkpoint_s = checkpoint_s
        self._user_model = user_model
        self._user_loss = user_function(distillation.loss) if distillation else None
        self._on_step = on_step
        self._history: list[Epoch] = []
        self._num_saved = 0

    def train(self) -> Generator[Epoch, None, None]:
        """Train to the last epoch, which counts; yields every epoch from the first.

        Epochs that a checkpoint holds come first, as they were recorded, and training goes on from there: on the CPU
        the result is that of an uninterrupted run to the last bit. A generator that is closed early leaves a
        checkpoint behind.

        Raises:
            Diverged: the loss is not finite.
            UserFunctionError: the user's model or loss raised.
            UserError: a batch that cannot be split among the workers, a model without plain logits.
        """
        self._resume()
        yield from (replace(epoch, is_stored=True) for epoch in self._history)
        saved_at = time.monotonic()
        for number in range(len(self._history) + 1, self._recipe.epochs + 1):
            self._history.append(self._train_epoch(number))
            if time.monotonic() - saved_at >= self._checkpoint_s:
                self._save()
                saved_at = time.monotonic()
            try:
                yield self._history[-1]
            except GeneratorExit:
                self._save()
                raise
        self._train_state.model.to(memory_format=torch.contiguous_format)

    def _resume(self) -> None:
        """Take over the last checkpoint, if there is one, with the epochs that it has done."""
        state = self._checkpoints.load() if self._checkpoints is not None else None
        if self._world.size > 1:
            state = _broadcast_bytes(state, self._device)
        if state is None:
            return
        facts = self._train_state.restore(state)
        if facts["seed"] != self._seed:
            raise ValueError(f"the checkpoint is of seed {facts['seed']}, not {self._seed}")
        self._history = [Epoch.from_dict(epoch) for epoch in facts["history"]]
        self._num_saved = len(self._history)

    def _save(self) -> None:
        if self._checkpoints is not None and self._num_saved < len(self._history):
            history = [epoch.to_dict() for epoch in self._history]
            self._checkpoints.save(self._train_state.snapshot({"seed": self._seed, "history": history}))
            self._num_saved = len(self._history)

    def _train_epoch(self, epoch: int) -> Epoch:
        """One pass over the split fit, then an evaluation on the split choose."""
        started = time.monotonic()
        torch.set_num_threads(self._recipe.threads)
        view = (epoch - 1) % self._pixels.views.num
        batches, num_steps = self._batches(epoch, view)
        lr = 0.0
        # Summed on the device and read once: reading a loss at every step would make the device wait for us.
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        self._network.train()
        with seeded(derive_seed(self._seed, epoch, 1 + self._world.rank), self._device):
            for step, (ids_B, labels_B, target_BC) in enumerate(batches, (epoch - 1) * num_steps):
                lr = learning_rate(self._recipe, step, self._recipe.epochs * num_steps)
                inputs_BCHW = self._pixels.inputs(ids_B, view, channels_last=self._recipe.channels_last)
                total += self._train_step(inputs_BCHW, labels_B, target_BC, lr)
                self._on_step()
        if self._world.size > 1:
            dist.all_reduce(total)
        loss = total.item() / num_steps / self._world.size
        accuracy, nll = self._evaluate()
        if not math.isfinite(loss) or not math.isfinite(nll):
            raise Diverged(epoch, loss)
        return Epoch(epoch, loss, lr, accuracy, nll, time.monotonic() - started, round(time.time() * 1000))

    def _batches(self, epoch: int, view: int) -> tuple[Iterator[tuple[Tensor, Tensor, Tensor | None]], int]:
        """Sample ids, labels and target logits of each step of this worker, and the number of steps."""
        fit = self._dataset.splits.fit
        positions_SB = positions(len(fit), self._recipe.batch_size, self._seed, epoch, self._world)
        ids_SB = as_tensor(fit)[positions_SB]
        labels_SB = as_tensor(self._dataset.labels_N)[ids_SB].to(self._device)
        targets = self._objective.targets_of(view, positions_SB, self._device)
        return zip(ids_SB.to(self._device), labels_SB, targets, strict=True), len(positions_SB)

    def _train_step(self, inputs_BCHW: Tensor, labels_B: Tensor, target_BC: Tensor | None, lr: float) -> Tensor:
        """One update of the weights; returns the loss."""
        optimizer, scaler = self._train_state.optimizer, self._train_state.scaler
        for group in optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(self._device.type, self._autocast, enabled=self._autocast != torch.float32):
            student_BC = self._network(inputs_BCHW)
        if not isinstance(student_BC, Tensor):
            raise UserError(f"model: returned {type(student_BC).__name__} in training; it must return logits alone")
        with errors_of(self._user_loss):
            loss = self._objective.loss(student_BC.to(torch.float32), labels_B, target_BC)
        optimizer.zero_grad()
        # Workers of a group exchange gradients here, and a lost worker is not the user's error.
        with errors_of(None if self._world.size > 1 else self._user_model or self._user_loss):
            torch.autograd.backward(scaler.scale(loss))
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    def _evaluate(self) -> tuple[float, float]:
        """Accuracy and mean negative log-likelihood on the split choose, of which each worker takes its share."""
        model, world = self._train_state.model, self._world
        if world.size > 1:
            # Each worker has followed its own batches; rank 0's running statistics are those that are kept.
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
        choose = self._dataset.splits.choose
        ids_N = torch.from_numpy(choose[world.rank :: world.size].copy()).to(self._device)
        with errors_of(self._user_model):
            logits_NC = logits(model, self._pixels, ids_N, 0, self._dataset.num_classes, self._on_step)
        labels_N = as_tensor(self._dataset.labels_N)[ids_N.cpu()].to(self._device)
        nll = functional.cross_entropy(logits_NC.double(), labels_N, reduction="sum")
        sums = torch.stack([(logits_NC.argmax(1) == labels_N).sum().double(), nll])
        if world.size > 1:
            dist.all_reduce(sums)
        accuracy, mean_nll = (sums / len(choose)).tolist()
        return accuracy, mean_nll


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
