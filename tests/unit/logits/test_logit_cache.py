"""The logit cache: right pixels, right rows, no copies, and nothing damaged is ever read."""

import hashlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from tests.unit import tiny
from wetakd.common.canonical_json import key_of
from wetakd.data.views import Views
from wetakd.logits import logit_cache
from wetakd.storage.addresses import logit_cache_address
from wetakd.storage.atomic_store import Store
from wetakd.training.inference import predict

VIEWS = Views(num=3, flip=True, crop_padding=1, seed=4)
PAYLOAD = {"kind": "cache", "network": "one"}
KEY = key_of(PAYLOAD)


@pytest.fixture(scope="module")
def data():
    return tiny.dataset()


@pytest.fixture(scope="module")
def network(data):
    return tiny.run(recipe=tiny.RECIPE.model_copy(update={"epochs": 1}))[0]


@pytest.fixture(scope="module")
def table(data, network):
    return logit_cache.compute_logits(network, data, VIEWS)


def test_every_sample_and_view_has_the_logits_of_its_very_pixels(data, network, table):
    found = logit_cache.logits_of_table(table)
    assert found.fit_VNC.shape == (3, 40, 3)
    assert found.fit_VNC.dtype == np.float16
    for number in range(3):
        fresh_NC = predict(network, data, data.splits.fit, views=VIEWS, view=number).astype(np.float16)
        assert np.array_equal(found.fit_VNC[number], fresh_NC)
    assert not np.array_equal(found.fit_VNC[0], found.fit_VNC[1])
    for split in ("weigh", "choose", "test"):
        clean_NC = predict(network, data, getattr(data.splits, split)).astype(np.float16)
        assert np.array_equal(getattr(found, f"{split}_NC"), clean_NC)


def test_rows_name_their_sample_and_view(data, table):
    ids = table.column("sample_id").to_numpy()
    assert np.array_equal(ids[:40], data.splits.fit)
    assert np.array_equal(ids[-15:], data.splits.test)
    assert table.column("view").to_pylist() == [0] * 40 + [1] * 40 + [2] * 40 + [0] * 36


def test_rows_and_bytes_are_known_beforehand(data, table):
    assert logit_cache.num_cache_rows(data, 3) == table.num_rows
    assert table.nbytes == pytest.approx(logit_cache.num_cache_bytes(data, 3), rel=0.05)


def test_computing_changes_nothing_in_the_network(data, network, table):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    again = logit_cache.compute_logits(network, data, VIEWS)
    assert network.training
    assert again.equals(table)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None or not parameter.grad.requires_grad for parameter in network.parameters())


def test_images_are_copied_to_the_device_once_for_all_views_and_splits(network):
    with tiny.counted_copies() as copies:
        logit_cache.compute_logits(network, tiny.dataset(), VIEWS)
    assert len(copies) == 1


def test_every_batch_is_a_step(data, network):
    large, steps = tiny.dataset(num_fit=600), []
    logit_cache.compute_logits(network, large, VIEWS, on_step=lambda: steps.append(1))
    # 600 images are three batches of at most 256, in each of three views; weigh, choose and test one each.
    assert len(steps) == 3 * 3 + 3


@pytest.mark.parametrize("value", [float("nan"), 1e5])
def test_logits_that_float16_cannot_hold_are_refused(data, value):
    class Wild(nn.Module):
        def forward(self, images_BCHW):
            return torch.full((len(images_BCHW), 3), value)

    with pytest.raises(FloatingPointError, match="float16"):
        logit_cache.compute_logits(Wild(), data, VIEWS)


def test_views_of_a_table_share_its_memory_and_are_read_only(table):
    found = logit_cache.logits_of_table(table)
    assert not found.fit_VNC.flags.writeable
    assert not found.fit_VNC.flags.owndata
    buffer = table.column("logits").chunk(0).flatten().buffers()[1]
    start = found.test_NC.__array_interface__["data"][0]
    assert buffer.address < start < buffer.address + buffer.size


def test_a_stored_logit_cache_reads_back_equal_and_without_a_copy(table, tmp_path):
    store = Store(str(tmp_path))
    assert logit_cache.read_cache(store, KEY) is None
    manifest = logit_cache.write_cache(store, PAYLOAD, table)
    assert (manifest.address, manifest.payload) == (logit_cache_address(KEY), PAYLOAD)
    before = pa.total_allocated_bytes()
    stored = logit_cache.read_cache(store, KEY)
    found = stored.table
    assert found.equals(table)
    assert found.schema.metadata == table.schema.metadata
    assert pa.total_allocated_bytes() - before < table.nbytes / 2
    assert np.array_equal(logit_cache.logits_of_table(found).choose_NC, logit_cache.logits_of_table(table).choose_NC)
    (path,) = (tmp_path / logit_cache_address(KEY)).glob("*.arrow")
    assert stored.digest == logit_cache.cache_digest(manifest) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_equal_logits_have_one_digest_and_others_another(table, tmp_path):
    store = Store(str(tmp_path))
    other = table.set_column(1, "view", pa.array(np.ones(table.num_rows, np.int16)))
    tables = {"one": table, "same": pa.table(table), "other": other}
    digests = {
        name: logit_cache.cache_digest(logit_cache.write_cache(store, {"network": name}, each))
        for name, each in tables.items()
    }
    assert digests["one"] == digests["same"] != digests["other"]


def test_a_flipped_bit_or_a_missing_end_is_noticed(table, tmp_path):
    store = Store(str(tmp_path))
    for change in (lambda raw: raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:], lambda raw: raw[:-5], lambda raw: b""):
        manifest = logit_cache.write_cache(store, PAYLOAD, table)
        (blob,) = manifest.blobs.values()
        path = tmp_path / logit_cache_address(KEY) / blob.path
        path.write_bytes(change(path.read_bytes()))
        assert logit_cache.read_cache(store, KEY) is None


def test_verify_tells_a_sound_logit_cache_from_one_of_other_pixels(data, network, table):
    sound = logit_cache.largest_difference(table, network, data, VIEWS)
    assert sound <= 1e-3 * np.abs(logit_cache.logits_of_table(table).fit_VNC).max()
    other_views = Views(num=3, flip=True, crop_padding=1, seed=5)
    assert logit_cache.largest_difference(table, network, data, other_views) > 10 * max(sound, 1e-3)
    assert logit_cache.largest_difference(table, tiny.network(seed=9), data, VIEWS) > 10 * max(sound, 1e-3)


def test_a_logit_cache_is_filled_in_place_slice_by_slice(data, monkeypatch):
    wide = replace(data, class_names=tuple(map(str, range(2000))))
    rows = np.random.default_rng(0).normal(0, 2, (len(data.labels_N), 2000)).astype(np.float32)
    monkeypatch.setattr(logit_cache, "_SLICE_BYTES", 8 * 4 * 2000)
    asked = []

    def logits_of(sample_ids, view):
        asked.append(len(sample_ids))
        return rows[sample_ids] + view

    tracemalloc.start()
    table = logit_cache.assemble_table(wide, 3, logits_of)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(asked) <= 8
    assert peak < 1.5 * table.nbytes
    found = logit_cache.logits_of_table(table)
    expected = np.stack([rows[data.splits.fit] + view for view in range(3)]).astype(np.float16)
    assert np.array_equal(found.fit_VNC, expected)
    assert np.array_equal(found.test_NC, rows[data.splits.test].astype(np.float16))
    assert table.column("sample_id").to_numpy()[40:80].tolist() == data.splits.fit.tolist()
