import torch

from wetakd.training import precision_speed
from wetakd.training.precision_speed import bfloat16_speedup


def test_the_ratio_is_that_of_the_steps_and_the_random_state_is_not_touched(monkeypatch):
    real, dtypes = precision_speed._step_seconds, []

    def timed(model, optimizer, images_BCHW, labels_B, dtype):
        dtypes.append(dtype)
        real(model, optimizer, images_BCHW, labels_B, dtype)
        return {torch.float32: 0.6, torch.bfloat16: 0.3}[dtype]

    monkeypatch.setattr(precision_speed, "_step_seconds", timed)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert bfloat16_speedup("cpu") == 2.0
    assert dtypes == [torch.float32, torch.bfloat16] * 7
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_measured_ratio_is_a_positive_number():
    assert 0 < bfloat16_speedup("cpu") < 1000
