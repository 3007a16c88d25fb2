import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wetakd.config import DistillationConfig
from wetakd.training.losses import dist, distillation_loss, dkd, kd, mix, standardise

LOSSES = [
    DistillationConfig(loss="kd"),
    DistillationConfig(loss="dkd"),
    DistillationConfig(loss="dist"),
    DistillationConfig(loss="kd", standardize=True),
    DistillationConfig(loss="dkd", standardize=True),
    DistillationConfig(loss="dist", standardize=True),
]
every_loss = pytest.mark.parametrize("config", LOSSES, ids=lambda c: c.loss + "-standardised" * c.standardize)
LABELS_B = torch.tensor([0, 2, 1, 2, 0])
quick = settings(max_examples=25, deadline=None)


def tensors(*shape):
    return arrays(np.float64, shape, elements=st.floats(-8, 8, width=32)).map(torch.from_numpy)


def simplex(num):
    positive = st.lists(st.floats(0.01, 1), min_size=num, max_size=num)
    return positive.map(lambda values: tuple(value / sum(values) for value in values))


def softmax(values):
    exps = [math.exp(value) for value in values]
    return [value / sum(exps) for value in exps]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


# ------------------------------------------------------------------------------------------- golden values


TARGET = [[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]]
STUDENT = [[1.0, 1.0, 0.0], [-1.0, 2.0, 0.5]]
LABELS = [0, 2]
T = 2.0


def golden(loss, *arguments):
    student, target = (torch.tensor(values, dtype=torch.float64) for values in (STUDENT, TARGET))
    return loss(student, target, *arguments).item()


def probabilities(logits):
    return softmax([value / T for value in logits])


def test_kd_by_hand():
    per_sample = [kl(probabilities(t), probabilities(s)) for t, s in zip(TARGET, STUDENT, strict=True)]
    assert golden(kd, T) == pytest.approx(T**2 * sum(per_sample) / 2, rel=1e-12)
    # The same number, so that a slip in the helpers above shows.
    assert golden(kd, T) == pytest.approx(0.78654806316, abs=1e-9)


def test_dkd_by_hand():
    beta, total = 3.0, 0.0
    for target, student, label in zip(TARGET, STUDENT, LABELS, strict=True):
        p, q = probabilities(target), probabilities(student)
        p_others = [value / (1 - p[label]) for c, value in enumerate(p) if c != label]
        q_others = [value / (1 - q[label]) for c, value in enumerate(q) if c != label]
        total += kl([p[label], 1 - p[label]], [q[label], 1 - q[label]]) + beta * kl(p_others, q_others)
    assert golden(dkd, torch.tensor(LABELS), T, beta) == pytest.approx(T**2 * total / 2, rel=1e-12)


def test_dist_by_hand():
    p, q = (np.array([probabilities(row) for row in rows]) for rows in (TARGET, STUDENT))
    inter = 1 - np.mean([np.corrcoef(p[b], q[b])[0, 1] for b in range(2)])
    intra = 1 - np.mean([np.corrcoef(p[:, c], q[:, c])[0, 1] for c in range(3)])
    assert golden(dist, T, 0.7) == pytest.approx(T**2 * (inter + 0.7 * intra), rel=1e-6)


def test_standardise_by_hand():
    logits_BC = torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 10.0]], dtype=torch.float64)
    root = math.sqrt(1.5)
    expected = [[-root, 0.0, root], [-math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2)]]
    assert standardise(logits_BC).numpy() == pytest.approx(np.array(expected), abs=1e-7)


# ---------------------------------------------------------------------------------------------- properties


@quick
@given(student=tensors(4, 3), target=tensors(4, 3))
def test_splitting_the_mass_of_a_class_does_not_rescale_kd(student, target):
    """As two halves a class has the same share on both sides: the divergence, and so the loss, stays."""

    def halves(logits_BC):
        half_B1 = logits_BC[:, -1:] - T * math.log(2)
        return torch.cat([logits_BC[:, :-1], half_B1, half_B1], dim=1)

    assert kd(halves(student), halves(target), T) == pytest.approx(kd(student, target, T).item(), abs=1e-10)


@quick
@given(student=tensors(4, 3), target=tensors(4, 3))
def test_kd_is_the_mean_over_the_batch(student, target):
    alone = [kd(student[b : b + 1], target[b : b + 1], T).item() for b in range(4)]
    assert kd(student, target, T).item() == pytest.approx(np.mean(alone), abs=1e-10)


@quick
@given(student=tensors(5, 3), target=tensors(5, 3), temperature=st.floats(0.5, 8))
def test_kd_is_dkd_with_beta_one_less_the_targets_confidence(student, target, temperature):
    """Equation 7 of the DKD paper."""
    beta_B = 1 - torch.softmax(target / temperature, 1)[torch.arange(5), LABELS_B]
    parts = [
        dkd(student[b : b + 1], target[b : b + 1], LABELS_B[b : b + 1], temperature, beta_B[b].item()) for b in range(5)
    ]
    assert sum(parts).item() / 5 == pytest.approx(kd(student, target, temperature).item(), abs=1e-9)


@every_loss
@quick
@given(target=tensors(5, 3))
def test_a_student_that_agrees_has_no_loss(config, target):
    target = target + torch.linspace(0, 40, 15).sin().view(5, 3)  # no constant row or column
    assert distillation_loss(target, target, LABELS_B, config).item() == pytest.approx(0, abs=1e-5)


@every_loss
@quick
@given(student=tensors(5, 3), target=tensors(5, 3), shift=st.floats(-5, 5))
def test_only_differences_of_logits_count(config, student, target, shift):
    loss = distillation_loss(student, target, LABELS_B, config)
    shifted = distillation_loss(student + shift, target - shift, LABELS_B, config)
    assert shifted.item() == pytest.approx(loss.item(), abs=1e-3, rel=1e-3)


@quick
@given(student=tensors(5, 3), target=tensors(5, 3), scale=st.floats(0.5, 5))
def test_standardisation_removes_the_scale_of_a_teacher(student, target, scale):
    target = target + torch.tensor([0.0, 0.5, 1.5])
    config = DistillationConfig(standardize=True)
    loss = distillation_loss(student, target, LABELS_B, config)
    assert distillation_loss(student, scale * target, LABELS_B, config).item() == pytest.approx(loss.item(), abs=1e-4)


@every_loss
def test_extreme_logits_give_finite_losses_and_gradients(config):
    target_BC = torch.tensor([[1e4, 0, -1e4], [0, 0, 0], [50, -50, 0], [0, 0, 1e-3], [3, 2, 1]])
    student_BC = torch.tensor([[-1e3, 0, 1e3], [0, 0, 0], [0, 0, 0], [1e3, 0, 0], [0.1, 0.2, 0.3]], requires_grad=True)
    loss = distillation_loss(student_BC, target_BC, LABELS_B, config)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student_BC.grad).all()


# ------------------------------------------------------------------------------------------------- mixing

mixtures = pytest.mark.parametrize("mixture", ["probabilities", "logits"])


@quick
@given(z=tensors(3, 4, 5), weights_K=simplex(3), temperature=st.floats(0.5, 8))
def test_the_probabilities_mixture_is_the_weighted_mean_of_probabilities(z, weights_K, temperature):
    target_BC = mix(list(z), weights_K, temperature, "probabilities")
    p_w = sum(w * torch.softmax(z_k / temperature, 1) for w, z_k in zip(weights_K, z, strict=True))
    torch.testing.assert_close(torch.softmax(target_BC / temperature, 1), p_w, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(target_BC, temperature * p_w.log(), atol=1e-9, rtol=1e-9)


@quick
@given(z=tensors(3, 4, 5), weights_K=simplex(3), temperature=st.floats(0.5, 8))
def test_the_logits_mixture_is_the_weighted_mean_of_logits(z, weights_K, temperature):
    expected = sum(w * z_k for w, z_k in zip(weights_K, z, strict=True))
    torch.testing.assert_close(mix(list(z), weights_K, temperature, "logits"), expected)


@quick
@given(z=tensors(3, 4, 5), student=tensors(4, 5), weights_K=simplex(3), temperature=st.floats(0.5, 8))
def test_one_mixed_target_teaches_what_a_weighted_sum_of_losses_teaches(z, student, weights_K, temperature):
    apart_BC, mixed_BC = (student.clone().requires_grad_() for _ in range(2))
    sum(w * kd(apart_BC, z_k, temperature) for w, z_k in zip(weights_K, z, strict=True)).backward()
    kd(mixed_BC, mix(list(z), weights_K, temperature, "probabilities"), temperature).backward()
    torch.testing.assert_close(apart_BC.grad, mixed_BC.grad, atol=1e-10, rtol=1e-7)


@mixtures
@every_loss
@quick
@given(z=tensors(5, 3), student=tensors(5, 3), weights_K=st.integers(2, 6).flatmap(simplex))
def test_equal_teachers_teach_what_one_of_them_teaches(mixture, config, z, student, weights_K):
    """So neither the loss nor its ratio to the labels' cross-entropy depends on the number of teachers."""
    z = z + torch.tensor([0.0, 0.5, 1.5])
    one = distillation_loss(student, z, LABELS_B, config)
    target_BC = mix([z] * len(weights_K), weights_K, config.temperature, mixture)
    assert distillation_loss(student, target_BC, LABELS_B, config).item() == pytest.approx(one.item(), abs=1e-4)


@mixtures
def test_one_teacher_of_weight_one_is_passed_on_to_the_last_bit(mixture):
    z = [torch.randn(4, 3), torch.randn(4, 3)]
    assert torch.equal(mix(z[:1], (1.0,), 4.0, mixture), z[0])
    assert torch.equal(mix(z, (0.0, 1.0), 4.0, mixture), z[1])


@mixtures
def test_a_teacher_of_weight_zero_has_no_say(mixture):
    z = [torch.randn(4, 3), torch.full((4, 3), torch.nan), torch.randn(4, 3)]
    assert torch.equal(mix(z, (0.3, 0.0, 0.7), 4.0, mixture), mix([z[0], z[2]], (0.3, 0.7), 4.0, mixture))


def test_classes_that_no_teacher_believes_in_keep_the_loss_finite():
    sure_BC = torch.tensor([[6e4, 0.0, -6e4]] * 5)
    student_BC = torch.zeros(5, 3, requires_grad=True)
    kd(student_BC, mix([sure_BC, sure_BC], (0.5, 0.5), 1.0, "probabilities"), 1.0).backward()
    torch.testing.assert_close(student_BC.grad, torch.tensor([[1 / 3 - 1, 1 / 3, 1 / 3]] * 5) / 5)


def test_every_option_of_a_loss_is_used():
    generator = torch.Generator().manual_seed(0)
    student, target = (torch.randn(5, 3, generator=generator) for _ in range(2))

    def loss(**fields):
        return distillation_loss(student, target, LABELS_B, DistillationConfig(**fields)).item()

    assert len({loss(loss=name, standardize=z) for name in ("kd", "dkd", "dist") for z in (False, True)}) == 6
    for name in ("kd", "dkd", "dist"):
        assert loss(loss=name, temperature=2) != loss(loss=name)
    assert loss(loss="dkd", dkd_beta=1) != loss(loss="dkd")
    assert loss(loss="dist", dist_intra=0) != loss(loss="dist")
