import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit import tiny
from wetakd.config import ModelConfig
from wetakd.data.views import Views
from wetakd.models.registry import build_model
from wetakd.training.inference import Pixels, predict
from wetakd.training.train_state import load_state, state_bytes

VIEWS = Views(num=3, flip=True, crop_padding=1, seed=4)


@pytest.fixture(params=["plain", "resnet"])
def network(request):
    depth = {"plain": 2, "resnet": 8}[request.param]
    return build_model(ModelConfig(name=request.param, options={"depth": depth}), tiny.SHAPE, tiny.NUM_CLASSES, seed=0)


def test_logits_are_the_networks_own_on_normalised_images(network):
    data = tiny.dataset()
    ids = np.array([5, 0, 17])
    network.eval()
    with torch.inference_mode():
        expected = network(data.transform.normalise(torch.tensor(data.images_NCHW[ids])))
    found_NC = predict(network, data, ids)
    assert (found_NC.dtype, found_NC.shape) == (np.float32, (3, tiny.NUM_CLASSES))
    np.testing.assert_allclose(found_NC, expected, rtol=1e-4, atol=1e-5)


def test_logits_do_not_depend_on_what_else_is_asked(network):
    data = tiny.dataset(num_fit=400)
    ids = np.arange(400)
    whole_NC = predict(network, data, ids, views=VIEWS, view=2)
    some = np.random.default_rng(0).permutation(400)[:270]
    np.testing.assert_array_equal(predict(network, data, some, views=VIEWS, view=2), whole_NC[some])
    np.testing.assert_array_equal(predict(network, data, ids[7:8], views=VIEWS, view=2), whole_NC[7:8])


def test_logits_do_not_depend_on_the_memory_layout_of_the_weights(network):
    data, ids = tiny.dataset(), np.arange(20)
    before_NC = predict(network, data, ids)
    network.to(memory_format=torch.channels_last)
    np.testing.assert_array_equal(predict(network, data, ids), before_NC)


def test_views_are_seen():
    data, network, ids = tiny.dataset(), tiny.network(), np.arange(20)
    clean, first, second = (predict(network, data, ids, views=VIEWS, view=view) for view in range(3))
    np.testing.assert_array_equal(clean, predict(network, data, ids))
    assert not np.array_equal(first, clean)
    assert not np.array_equal(first, second)


def test_nothing_asked_nothing_said():
    found_NC = predict(tiny.network(), tiny.dataset(), np.array([], dtype=np.int64))
    assert found_NC.shape == (0, tiny.NUM_CLASSES)


def test_prediction_leaves_modes_and_running_statistics_alone():
    network = nn.Sequential(tiny.network(), nn.Dropout(0.5))
    network[0][1].eval()
    before, modes = state_bytes(network), [layer.training for layer in network.modules()]
    first = predict(network, tiny.dataset(), np.arange(8))
    np.testing.assert_array_equal(first, predict(network, tiny.dataset(), np.arange(8)))
    assert state_bytes(network) == before
    assert [layer.training for layer in network.modules()] == modes
    assert all(parameter.requires_grad and not parameter.is_inference() for parameter in network.parameters())


def test_a_reloaded_network_says_the_same():
    data, network, other = tiny.dataset(), tiny.network(seed=1), tiny.network(seed=2)
    assert not np.array_equal(predict(network, data, np.arange(9)), predict(other, data, np.arange(9)))
    load_state(other, state_bytes(network))
    np.testing.assert_array_equal(predict(network, data, np.arange(9)), predict(other, data, np.arange(9)))


def test_images_are_copied_to_the_device_once_for_all_networks():
    data, other = tiny.dataset(), tiny.dataset(seed=1)
    with tiny.counted_copies() as copies:
        for seed in (1, 2):
            predict(tiny.network(seed), data, np.arange(9))
        tiny.run(data=data)
        assert len(copies) == 1
        found_NC = predict(tiny.network(), other, np.arange(9))
        assert len(copies) == 2
    assert not np.array_equal(found_NC, predict(tiny.network(), data, np.arange(9)))


def test_the_copy_on_the_device_goes_with_the_data_set():
    data = tiny.dataset()
    images = weakref.ref(Pixels.of(data, None, torch.device("meta")).images_NCHW)
    assert Pixels.of(data, None, torch.device("meta")).images_NCHW is images()
    del data
    gc.collect()
    assert images() is None
