"""The winner as ONNX: its transform inside, batches of any size, checked against torch; on request in int8.

Needs the extra `wetakd[onnx]`: onnxscript (torch's exporter writes through it), onnx and onnxruntime.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wetakd.common.errors import UserError, describe_error
from wetakd.export.shipped_student import ShippedStudent

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_INPUT, _OUTPUT = "images", "logits"
_EXAMPLE_BATCH = 64
# What the two runtimes may differ by, as a share of the largest logit: their kernels add in another order.
_TOLERANCE = 1e-4
NUM_CALIBRATION = 512
"""Images of split fit that int8's ranges are taken from, at most."""


def check_installed() -> None:
    """Raise UserError where the extra is not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"--onnx: needs {', '.join(missing)}; install it with: pip install 'wetakd[onnx]'")


def export_onnx(shipped: ShippedStudent, images_NCHW: np.ndarray, path: Path) -> float:
    """Write `shipped` as ONNX and hold it against torch on `images_NCHW` (uint8, at least 2).

    Returns the largest difference of a logit.

    Raises:
        UserError: the network cannot be expressed in ONNX.
        RuntimeError: what was written does not give torch's logits.
    """
    example = torch.from_numpy(np.array(images_NCHW[:2]))
    try:
        with _quiet_export():
            program = torch.onnx.export(
                shipped,
                (example,),
                dynamo=True,
                input_names=[_INPUT],
                output_names=[_OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except Exception as error:  # torch's exporter raises what it meets
        raise UserError(f"student.model: cannot be exported to ONNX: {describe_error(error)}") from error
    assert program is not None
    program.save(path, external_data=False)
    return _compare(shipped, images_NCHW, path)


def _compare(shipped: ShippedStudent, images_NCHW: np.ndarray, path: Path) -> float:
    with torch.inference_mode():
        expected_NC = shipped(torch.from_numpy(np.array(images_NCHW))).numpy()
    difference = float(np.abs(predict_onnx(path, images_NCHW) - expected_NC).max())
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected_NC).max())):
        raise RuntimeError(f"{path}: its logits differ from torch's by {difference:g}")
    return difference


def predict_onnx(path: Path, images_NCHW: np.ndarray) -> np.ndarray:
    """Logits (float32, N x C) of uint8 images by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batches = (images_NCHW[start : start + _EXAMPLE_BATCH] for start in range(0, len(images_NCHW), _EXAMPLE_BATCH))
    return np.concatenate([session.run([_OUTPUT], {_INPUT: batch})[0] for batch in batches])


def quantise_onnx(path: Path, images_NCHW: np.ndarray, target: Path) -> None:
    """Write the ONNX model `path` in int8 to `target`: convolutions and matrix products, static, a scale a channel.

    `images_NCHW` (uint8) give the ranges of the activations; they must be images that nothing is judged on.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with _quiet_export(), tempfile.TemporaryDirectory(prefix="wetakd-onnx-") as scratch:
        prepared = Path(scratch, "prepared.onnx")
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            target,
            _calibration(images_NCHW),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )


def _calibration(images_NCHW: np.ndarray) -> Any:
    """The images as onnxruntime's calibration reads them, batch by batch."""
    from onnxruntime.quantization import CalibrationDataReader

    class Images(CalibrationDataReader):  # type: ignore[misc, unused-ignore]  # untyped where it is installed
        def __init__(self) -> None:
            self._batches = iter(np.array_split(images_NCHW, -(-len(images_NCHW) // _EXAMPLE_BATCH)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {_INPUT: batch}

    return Images()


@contextlib.contextmanager
def _quiet_export() -> Iterator[None]:
    """Exporter and quantiser tell their own developers a great deal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
