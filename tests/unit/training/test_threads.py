import pytest
import torch

from wetakd.training.threads import pinned_threads


def test_threads_are_pinned_during_the_block_and_restored_also_after_an_error():
    before = torch.get_num_threads()
    with pinned_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), pinned_threads(before + 2):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before
