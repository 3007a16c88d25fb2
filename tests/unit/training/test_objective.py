import numpy as np
import pytest
import torch
from torch.nn import functional

import wetakd.training.objective
from wetakd.config import DistillationConfig
from wetakd.training.losses import mix
from wetakd.training.objective import Targets, TrainingObjective

CPU = torch.device("cpu")
V, N, C = 2, 12, 3


def made_logits(seed):
    logits_VNC = np.random.default_rng(seed).normal(0, 3, (V, N, C)).astype(np.float16)
    logits_VNC.flags.writeable = False
    return logits_VNC


def objective(targets, **fields):
    return TrainingObjective(0.0, DistillationConfig(**fields), targets)


@pytest.mark.parametrize("mixture", ["probabilities", "logits"])
@pytest.mark.parametrize("mixed_at_once", [1, 30, 2**22])
def test_logits_are_addressed_by_view_and_position(monkeypatch, mixture, mixed_at_once):
    """Whatever the order of training is, and however many steps are mixed at a time."""
    monkeypatch.setattr(wetakd.training.objective, "_MIXED_AT_ONCE", mixed_at_once)
    logits = (made_logits(0), made_logits(1), made_logits(2))
    weights_K = (0.5, 0.2, 0.3)
    positions_SB = torch.randperm(N, generator=torch.Generator().manual_seed(3)).view(4, 3)
    for view in range(V):
        steps = objective(Targets(logits, weights_K, mixture)).targets_of(view, positions_SB, CPU)
        for positions_B, target_BC in zip(positions_SB, steps, strict=True):
            rows = [torch.tensor(b[view][positions_B.numpy()]).float() for b in logits]
            assert target_BC.dtype == torch.float32
            torch.testing.assert_close(target_BC, mix(rows, weights_K, 4.0, mixture))


def test_one_teacher_of_weight_one_gives_its_stored_logits():
    steps = objective(Targets((made_logits(0), made_logits(1)), (1.0, 0.0))).targets_of(
        1, torch.arange(N).view(1, N), CPU
    )
    np.testing.assert_array_equal(next(steps).numpy(), made_logits(0)[1].astype(np.float32))


def test_without_teachers_there_are_no_targets():
    positions_SB = torch.zeros(3, 2, dtype=torch.int64)
    assert list(TrainingObjective(0.0, None, None).targets_of(0, positions_SB, CPU)) == [None] * 3
    assert list(objective(None).targets_of(0, positions_SB, CPU)) == [None] * 3


def test_the_loss_weighs_labels_and_distillation():
    student, target = torch.randn(5, C), torch.randn(5, C)
    labels_B = torch.tensor([0, 1, 2, 0, 1])
    labels = functional.cross_entropy(student, labels_B).item()
    distilled = objective(None, alpha=1, ce_weight=0).loss(student, labels_B, target).item()
    assert objective(None, alpha=0.3).loss(student, labels_B, None).item() == labels
    assert objective(None, alpha=0).loss(student, labels_B, target).item() == pytest.approx(labels)
    for fields, label_weight in (({"alpha": 0.3}, 0.7), ({"alpha": 2.0, "ce_weight": 0.4}, 0.4)):
        found = objective(None, **fields).loss(student, labels_B, target).item()
        assert found == pytest.approx(label_weight * labels + fields["alpha"] * distilled, rel=1e-5)


def test_labels_are_smoothed():
    student, labels_B = torch.randn(4, C), torch.tensor([0, 1, 2, 0])
    expected = functional.cross_entropy(student, labels_B, label_smoothing=0.2)
    assert TrainingObjective(0.2, None, None).loss(student, labels_B, None) == expected


@pytest.mark.parametrize(
    ("num_teachers", "weights_K"), [(0, ()), (2, (1.0,)), (2, (0.7, 0.7)), (2, (1.5, -0.5)), (1, (float("nan"),))]
)
def test_weights_off_the_simplex_are_our_own_mistake(num_teachers, weights_K):
    with pytest.raises(ValueError, match="weights"):
        Targets((made_logits(0),) * num_teachers, weights_K)
