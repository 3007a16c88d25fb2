import numpy as np
import pytest

from tests.unit import tiny
from tests.unit.tiny import KD, made_logits, run, timeless
from wetakd.config import DistillationConfig, RecipeConfig
from wetakd.data.views import Views
from wetakd.training.inference import predict
from wetakd.training.objective import Targets
from wetakd.training.train_state import state_bytes


def test_the_pupil_learns_what_its_teacher_says_of_each_image():
    """The teacher is wrong about every image in the same way, view by view; the labels have no say."""
    data = tiny.dataset()
    wrong_N = (data.labels_N + 1) % tiny.NUM_CLASSES
    logits_VNC = np.repeat(np.eye(tiny.NUM_CLASSES, dtype=np.float16)[wrong_N[data.splits.fit]][None] * 9, 2, axis=0)
    logits_VNC.flags.writeable = False
    model, _ = run(
        data=data,
        views=Views(2, True, 0, 0),
        recipe=RecipeConfig(epochs=12, batch_size=8, lr=0.05),
        distillation=DistillationConfig(alpha=1.0, temperature=1.0),
        targets=Targets((logits_VNC,), (1.0,)),
    )
    found_N = predict(model, data, data.splits.test).argmax(1)
    np.testing.assert_array_equal(found_N, wrong_N[data.splits.test])


@pytest.mark.parametrize("mixture", ["probabilities", "logits"])
def test_one_assistant_of_weight_one_is_plain_distillation_to_the_last_bit(mixture):
    data = tiny.dataset()
    one, other = made_logits(data), made_logits(data, seed=1)
    alone = run(distillation=KD, targets=Targets((one,), (1.0,)))
    in_pool = run(distillation=KD, targets=Targets((other, one), (0.0, 1.0), mixture))
    assert state_bytes(in_pool[0]) == state_bytes(alone[0])
    assert timeless(in_pool[1]) == timeless(alone[1])


@pytest.mark.parametrize("mixture", ["probabilities", "logits"])
def test_the_loss_does_not_grow_with_the_number_of_assistants(mixture):
    one = made_logits(tiny.dataset())
    losses = [
        run(distillation=KD, targets=Targets((one,) * k, (1 / k,) * k, mixture))[1][-1].loss for k in (1, 2, 4, 8)
    ]
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 2.0},
        {"alpha": 0.4},
        {"ce_weight": 0.4},
        {"loss": "dkd"},
        {"loss": "dist"},
        {"standardize": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_field_of_distillation_changes_the_pupil(changes):
    targets = Targets((made_logits(tiny.dataset()),), (1.0,))
    base = run(distillation=KD, targets=targets)[0]
    other = run(distillation=KD.model_copy(update=changes), targets=targets)[0]
    assert state_bytes(other) != state_bytes(base)


def test_logits_of_another_split_are_our_own_mistake():
    targets = Targets((made_logits(tiny.dataset(num_fit=41)),), (1.0,))
    with pytest.raises(ValueError, match=r"shape \(1, 41, 3\), not \(1, 40, 3\)"):
        run(distillation=KD, targets=targets)
