"""Arrays from files that users give: scores, labels and logits, as `.npy`, `.npz` or Parquet. Nothing is unpickled.

K networks, N samples, V views, C classes. Scores:

- `.npy`: one array [K, N, C] (read as a memory map);
- `.npz`: one array [N, C] a network, whose names are the networks', or a single array [K, N, C];
- `.parquet`: one column a network, named as the network, of lists of C floats (columns of other types are left aside).

Labels, integers from 0 to C-1: `.npy` or `.npz` with one array [N], or `.parquet` with a column `label`; the scores'
own Parquet file will do.

Logits of one network:

- `.npy`: an array N x C, or V x N x C;
- `.npz`: such an array `logits`, and where its rows are in another order their sample ids `sample_id`;
- `.parquet`: columns `sample_id` and `logits` (lists of C floats), and `view` where there are several.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wetakd.common.errors import UserError, first_line, one_line

Array = NDArray[Any]
FORMATS = (".npy", ".npz", ".parquet")


def read_scores(path: str) -> tuple[list[str], Array]:
    """The networks' names and their scores [K, N, C]."""
    arrays = _read_arrays(path, wanted="lists")
    for name, array in arrays.items():
        if array.ndim == 3 and len(arrays) == 1:
            return [f"network {k}" for k in range(len(array))], array
        if array.ndim != 2:
            raise UserError(f"{path}: {name} has shape {array.shape}, not (samples, classes)")
        if array.dtype.kind not in "fiub":
            raise UserError(f"{path}: {name} holds {array.dtype}, not numbers")
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(f"{path}: networks differ in shape: {shapes}")
    return list(arrays), np.stack(list(arrays.values()))


def read_labels(path: str) -> Array:
    """The labels [N]."""
    arrays = _read_arrays(path, wanted="label")
    if len(arrays) > 1:
        raise UserError(f"{path}: holds {', '.join(arrays)}; labels need one array")
    return next(iter(arrays.values()))


def _read_arrays(path: str, wanted: str) -> dict[str, Array]:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"{path}: {suffix or 'no ending'} is none of {', '.join(FORMATS)}")
    try:
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file")
        arrays = _read_parquet(path, wanted) if suffix == ".parquet" else _read_numpy(path)
    except UserError:
        raise
    except Exception as error:  # numpy's and zip's readers of damaged bytes raise anything
        reason = first_line(error).split(". ")[0]
        raise UserError(f"{path}: not a readable {suffix} file ({reason})") from error
    if not arrays:
        raise UserError(f"{path}: holds no array")
    return arrays


def _read_numpy(path: str) -> dict[str, Array]:
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {"the array": loaded}
    with loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise UserError(f"{path}: {name!r} is no array")
    return arrays


def _read_parquet(path: str, wanted: str) -> dict[str, Array]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if wanted == "label":
        if "label" not in file.schema_arrow.names:
            raise UserError(f"{path}: no column 'label' among {', '.join(file.schema_arrow.names)}")
        return {"label": file.read(["label"]).column("label").to_numpy()}
    fields = [field for field in file.schema_arrow if pa.types.is_nested(field.type)]
    lists = [field.name for field in fields if hasattr(field.type, "value_type")]
    if not lists:
        raise UserError(f"{path}: no column of lists of floats among {', '.join(file.schema_arrow.names)}")
    table = file.read(lists)
    return {name: _list_column(path, name, table.column(name).combine_chunks()) for name in lists}


def _list_column(path: str, name: str, column: Any) -> Array:
    lengths_N = column.value_lengths().to_numpy(zero_copy_only=False)
    values_X: Array = column.flatten().to_numpy(zero_copy_only=False)
    if column.null_count or len(lengths_N) == 0 or (lengths_N != lengths_N[0]).any():
        raise UserError(f"{path}: column {name!r} does not hold a list of the same length in every row")
    return values_X.reshape(len(lengths_N), -1)


def read_logits(path: str, data: bytes, where: str) -> tuple[Array, Array, Array]:
    """Sample id, view and logits of each row of `data`, the content of the file `path`.

    Raises:
        UserError: begins with `where`; the file is damaged or laid out otherwise.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".parquet":
            return _logits_from_parquet(data)
        if suffix in (".npy", ".npz"):
            return _logits_from_numpy(np.load(io.BytesIO(data), allow_pickle=False))
    except Exception as error:  # numpy's and zip's readers of damaged bytes raise anything
        raise UserError(f"{where} is not laid out as logits: {one_line(error, 200)}") from error
    raise UserError(f"{where} must end in .npy, .npz or .parquet")


def _logits_from_parquet(data: bytes) -> tuple[Array, Array, Array]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data)).combine_chunks()
    ids_R = table.column("sample_id").to_numpy().astype(np.int64)
    views_R = table.column("view").to_numpy() if "view" in table.column_names else np.zeros(len(ids_R), np.int64)
    return ids_R, views_R, np.array(table.column("logits").to_pylist(), dtype=np.float32)


def _logits_from_numpy(loaded: Any) -> tuple[Array, Array, Array]:
    logits = loaded if isinstance(loaded, np.ndarray) else loaded["logits"]
    if logits.ndim not in (2, 3):
        raise ValueError(f"an array of shape {list(logits.shape)}; samples x classes, or views x samples x classes")
    logits_VNC = logits.astype(np.float32).reshape(-1, *logits.shape[-2:])
    num_views, num = logits_VNC.shape[:2]
    given = not isinstance(loaded, np.ndarray) and "sample_id" in loaded.files
    ids_N = loaded["sample_id"].astype(np.int64) if given else np.arange(num)
    if ids_N.shape != (num,):
        raise ValueError(f"{list(ids_N.shape)} sample ids for {num} samples")
    views_R = np.repeat(np.arange(num_views), num)
    return np.tile(ids_N, num_views), views_R, logits_VNC.reshape(num_views * num, -1)
