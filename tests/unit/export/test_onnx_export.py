"""ONNX: torch's logits for batches of any size, in int8 nearly so, and one line for what cannot be carried."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from tests.unit import tiny
from wetakd.common.errors import UserError
from wetakd.export import onnx_export
from wetakd.export.shipped_student import ShippedStudent

DATA = tiny.dataset()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ShippedStudent, float]:
    """A trained network with batch norm and dropout, whose running statistics have moved."""
    network = tiny.with_dropout()
    tiny.run(network)
    shipped = ShippedStudent(network, DATA.transform).eval()
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    return path, shipped, onnx_export.export_onnx(shipped, DATA.images_NCHW, path)


def test_onnxruntime_gives_torchs_logits_for_every_batch_size(written: tuple[Path, ShippedStudent, float]) -> None:
    path, shipped, difference = written
    assert 0 <= difference < 1e-4
    session = onnxruntime.InferenceSession(str(path))
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [1, 8, 8])
    for num in (1, 2, 7, 70):
        images = DATA.images_NCHW[:num]
        with torch.inference_mode():
            expected = shipped(torch.from_numpy(images.copy())).numpy()
        (logits,) = session.run(["logits"], {"images": images})
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        np.testing.assert_allclose(onnx_export.predict_onnx(path, images), expected, atol=1e-4)


def test_int8_is_int8_and_agrees_with_the_float_on_nearly_all_images(
    written: tuple[Path, ShippedStudent, float], tmp_path: Path
) -> None:
    onnx_export.quantise_onnx(written[0], DATA.images_NCHW[DATA.splits.fit], tmp_path / "int8.onnx")
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    expected, got = (onnx_export.predict_onnx(path, DATA.images_NCHW) for path in (written[0], tmp_path / "int8.onnx"))
    assert not np.array_equal(expected, got)
    assert (expected.argmax(1) == got.argmax(1)).mean() > 0.9


def test_a_file_that_gives_other_logits_is_not_let_through(written: tuple[Path, ShippedStudent, float]) -> None:
    path, shipped, _ = written
    other = ShippedStudent(shipped.student, replace(DATA.transform, mean=(0.9,)))
    with pytest.raises(RuntimeError, match=r"its logits differ from torch's by \d"):
        onnx_export._compare(other, DATA.images_NCHW[:4], path)


class Sorting(nn.Module):
    """What its values are decides what it does: no graph can hold that."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :3] * (2 if float(images.sum()) > 0 else 3)


def test_a_network_that_onnx_cannot_carry_gets_one_line(tmp_path: Path) -> None:
    shipped = ShippedStudent(Sorting(), DATA.transform).eval()
    with pytest.raises(UserError, match=r"^student\.model: cannot be exported to ONNX: ") as told:
        onnx_export.export_onnx(shipped, DATA.images_NCHW, tmp_path / "student.onnx")
    assert "\n" not in str(told.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_export.check_installed()
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"--onnx: needs onnxscript; install it with: pip install 'wetakd\[onnx\]'"):
        onnx_export.check_installed()
