"""What a taught network minimises, and the mixed target of its teachers.

Shapes: B batch, C classes, K teachers. Logits are float32 (float64 in tests) and every loss is a scalar of that type.
T is the distillation temperature.

K teachers with weights on the simplex become one target before any loss sees them, so no loss grows with K. Targets
are logits. For the probabilities mixture p_w = sum_k w_k softmax(z_k / T) they are T log p_w: softmax(targets / T)
gives back p_w, and sum_k w_k KL(p_k || q) and KL(p_w || q) have the same gradient in the student's q.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from wetakd.common.errors import UserError, describe_error
from wetakd.common.user_functions import resolve_function
from wetakd.config import DistillationConfig

_EPS = 1e-8


def mix(
    logits_KBC: Sequence[Tensor],
    weights_K: Sequence[float],
    temperature: float,
    mixture: Literal["probabilities", "logits"],
) -> Tensor:
    """The target logits BC of K teachers.

    Teachers of weight 0 are left out. A single remaining one is passed on as it is, so that one teacher of weight 1
    gives to the last bit what plain distillation from it gives.
    """
    teachers = [(logits_BC, weight) for logits_BC, weight in zip(logits_KBC, weights_K, strict=True) if weight > 0]
    if len(teachers) == 1:
        return teachers[0][0]
    mixed_BC = torch.zeros_like(teachers[0][0])
    if mixture == "logits":
        for logits_BC, weight in teachers:
            mixed_BC.add_(logits_BC, alpha=weight)
        return mixed_BC
    for logits_BC, weight in teachers:
        mixed_BC.add_(functional.softmax(logits_BC / temperature, dim=-1), alpha=weight)
    # A probability that is 0 to all teachers must keep a finite logarithm.
    return mixed_BC.clamp_(min=torch.finfo(mixed_BC.dtype).tiny).log_().mul_(temperature)


def distillation_loss(student_BC: Tensor, target_BC: Tensor, labels_B: Tensor, config: DistillationConfig) -> Tensor:
    """The loss that `config` names, both sides standardised first where it says so; without `alpha`.

    A loss of the user's own, `package.module:function`, is called as `function(student_BC, target_BC, labels_B,
    temperature)` and returns a scalar.
    """
    if config.standardize:
        student_BC, target_BC = standardise(student_BC), standardise(target_BC)
    if config.loss == "kd":
        return kd(student_BC, target_BC, config.temperature)
    if config.loss == "dkd":
        return dkd(student_BC, target_BC, labels_B, config.temperature, config.dkd_beta)
    if config.loss == "dist":
        return dist(student_BC, target_BC, config.temperature, config.dist_intra)
    own: Tensor = resolve_function(config.loss, "distillation.loss")(
        student_BC, target_BC, labels_B, config.temperature
    )
    return own


def check_own_loss(config: DistillationConfig, num_classes: int, *, field: str) -> None:
    """Raise UserError unless a loss of the user's own gives a finite scalar with a gradient."""
    if ":" not in config.loss:
        return
    student_BC = torch.linspace(-1, 1, 4 * num_classes).view(4, num_classes).requires_grad_()
    labels_B = torch.arange(4) % num_classes
    resolve_function(config.loss, f"{field}.loss")
    try:
        loss = distillation_loss(student_BC, student_BC.detach().flip(0), labels_B, config)
        if isinstance(loss, Tensor) and loss.requires_grad and loss.shape == ():
            torch.autograd.backward(loss)
    except (Exception, SystemExit) as error:
        raise UserError(f"{field}.loss: {config.loss!r} raised {describe_error(error)}") from error
    if not isinstance(loss, Tensor) or loss.shape != () or not loss.requires_grad or not torch.isfinite(loss):
        given = f"{list(loss.shape)}, {loss.dtype}" if isinstance(loss, Tensor) else type(loss).__name__
        raise UserError(f"{field}.loss: {config.loss!r} returned {given}; it must be a finite scalar with a gradient")


def kd(student_BC: Tensor, target_BC: Tensor, temperature: float) -> Tensor:
    """T² KL(softmax(target / T) || softmax(student / T)), summed over classes, mean over the batch.

    Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), section 2.
    """
    log_q_BC = functional.log_softmax(student_BC / temperature, dim=1)
    log_p_BC = functional.log_softmax(target_BC / temperature, dim=1)
    return functional.kl_div(log_q_BC, log_p_BC, reduction="batchmean", log_target=True) * temperature**2


def dkd(student_BC: Tensor, target_BC: Tensor, labels_B: Tensor, temperature: float, beta: float) -> Tensor:
    """Decoupled KD: T² (TCKD + beta NCKD), mean over the batch.

    TCKD is the KL of two outcomes (the true class, any other), NCKD the KL among the other classes, renormalised. KD
    is TCKD + (1 - p(true class)) NCKD. Zhao et al. (arXiv 2203.08679), equations 5 to 7.
    """
    is_label_BC = functional.one_hot(labels_B, student_BC.shape[1]).bool()
    log_q_B2, log_q_rest_BC = _decouple(student_BC / temperature, is_label_BC)
    log_p_B2, log_p_rest_BC = _decouple(target_BC / temperature, is_label_BC)
    tckd = functional.kl_div(log_q_B2, log_p_B2, reduction="batchmean", log_target=True)
    nckd = functional.kl_div(log_q_rest_BC, log_p_rest_BC, reduction="none", log_target=True)
    # The true class is no outcome among the others; its place holds zeros on both sides but would count exp(0) = 1.
    nckd = nckd.masked_fill(is_label_BC, 0.0).sum(1).mean()
    return (tckd + beta * nckd) * temperature**2


def _decouple(logits_BC: Tensor, is_label_BC: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities of (true class, others), and of each other class among the others (true class: 0)."""
    others_BC = logits_BC.masked_fill(is_label_BC, -torch.inf)
    log_total_B = torch.logsumexp(logits_BC, dim=1)
    log_others_B = torch.logsumexp(others_BC, dim=1)
    log_label_B = logits_BC.masked_fill(~is_label_BC, 0.0).sum(1)
    binary_B2 = torch.stack([log_label_B - log_total_B, log_others_B - log_total_B], dim=1)
    return binary_B2, functional.log_softmax(others_BC, dim=1).masked_fill(is_label_BC, 0.0)


def dist(student_BC: Tensor, target_BC: Tensor, temperature: float, intra: float) -> Tensor:
    """DIST: T² (1 - correlation within a sample + intra x (1 - correlation within a class over the batch)).

    Pearson correlations of the softened probabilities, mean over samples and over classes. Huang et al.
    (arXiv 2205.10536), equations 6 to 10. The second part looks at the batch as a whole (of each worker its own).
    """
    q_BC = functional.softmax(student_BC / temperature, dim=1)
    p_BC = functional.softmax(target_BC / temperature, dim=1)
    inter_loss = 1 - _correlation(q_BC, p_BC).mean()
    intra_loss = 1 - _correlation(q_BC.T, p_BC.T).mean()
    return (inter_loss + intra * intra_loss) * temperature**2


def _correlation(a_RC: Tensor, b_RC: Tensor) -> Tensor:
    """Pearson's correlation of each row."""
    return functional.cosine_similarity(
        a_RC - a_RC.mean(1, keepdim=True), b_RC - b_RC.mean(1, keepdim=True), dim=1, eps=_EPS
    )


def standardise(logits_BC: Tensor) -> Tensor:
    """Logits of each sample less their mean, over their standard deviation.

    Sun et al., "Logit Standardization in Knowledge Distillation" (arXiv 2403.01427), algorithm 1; the temperature is
    applied afterwards.
    """
    centred_BC = logits_BC - logits_BC.mean(1, keepdim=True)
    # The constant stands under the root: equal logits then have a gradient too.
    return centred_BC * (centred_BC.square().mean(1, keepdim=True) + _EPS).rsqrt()
