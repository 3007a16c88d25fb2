"""`wetakd weigh`: ensemble weights for networks that were trained elsewhere, from files of scores and labels.

Layouts of the scores, K networks, N samples, C classes:

- `.npy`: one array [K, N, C] (read as a memory map);
- `.npz`: one array [N, C] a network, whose names are the networks', or a single array [K, N, C];
- `.parquet`: one column a network, named as the network, of lists of C floats (columns of other types are left aside).

Labels, integers from 0 to C-1: `.npy` or `.npz` with one array [N], or `.parquet` with a column `label`; the scores'
own Parquet file will do. Nothing is ever unpickled.
"""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wetakd.common.errors import UserError
from wetakd.weights import STRATEGIES, Problem, SearchResult, solve_problem, strategy_named
from wetakd.weights.network_scores import ScoreKind

Array = NDArray[Any]
FORMATS = (".npy", ".npz", ".parquet")
WIDTH = 80


@dataclass(frozen=True)
class Weighings:
    """Results in the order asked for, and the networks' names."""

    names: list[str]
    results: list[SearchResult]


def weigh_files(
    scores: str,
    labels: str,
    *,
    scores_are: ScoreKind,
    temperature: float = 1.0,
    mixture: ScoreKind = "probabilities",
    strategies: Sequence[str] = (),
    **options: Any,
) -> Weighings:
    """Search weights by each of the strategies (none: all of ours); `Problem` and its `search` explain the settings.

    Raises:
        UserError: a file that is missing, damaged or laid out otherwise, scores and labels that don't fit, an unknown
            strategy.
    """
    strategies = strategies or tuple(STRATEGIES)
    for strategy in strategies:
        strategy_named(strategy)  # a misspelt name is told before a large file is read
    names, scores_KNC = read_scores(scores)
    problem = Problem(scores_KNC, read_labels(labels), scores_are=scores_are, temperature=temperature, mixture=mixture)
    return Weighings(names, [solve_problem(problem, strategy, **options) for strategy in strategies])


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
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
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


def table(weighings: Weighings) -> str:
    """The results as text of at most 80 columns: a line each, what is certified, then the weights."""
    results = weighings.results
    rows = [f"{'strategy':13} {'accuracy':>8} {'nll':>7} {'evals':>7} {'seconds':>7}  cross-fitted gain"]
    for result in results:
        rows.append(
            f"{result.strategy[:13]:13} {result.accuracy:8.4f} {result.nll:7.4f} {result.evaluations:7} "
            f"{result.seconds:7.2f}  {_gain(result)}"
        )
    rows.append("")
    if any(result.crossfit_gain is not None for result in results):
        rows.append("Gain: points of accuracy over uniform weights on samples the search didn't see,")
        rows.append('± its standard error; "within its error": up to two of them.')
    rows.append(f"No weights are right more often than {results[0].accuracy_cap:.4f} on these samples.")
    rows += [
        f"No weights have an nll lower than that of {result.strategy} by more than {result.gap:.1g}."
        for result in results
        if result.gap is not None
    ]
    for result in results:
        weights = "  ".join(f"{name}={w:.3f}" for name, w in zip(weighings.names, result.weights, strict=True))
        rows.extend(textwrap.wrap(f"{result.strategy}: {weights}", WIDTH, subsequent_indent="    "))
    for warning in dict.fromkeys(warning for result in results for warning in result.warnings):
        rows.extend(textwrap.wrap(f"warning: {warning}", WIDTH, subsequent_indent="    "))
    return "\n".join(rows)


def _gain(result: SearchResult) -> str:
    if result.crossfit_gain is None or result.crossfit_error is None:
        return result.verdict
    words = result.verdict.removesuffix(" than uniform").removesuffix(" as uniform")
    return f"{100 * result.crossfit_gain:+.2f} ± {100 * result.crossfit_error:.2f} {words}"


def to_json(weighings: Weighings) -> str:
    """The networks' names and every field of every result."""
    document = {"networks": weighings.names, "results": [result.to_dict() for result in weighings.results]}
    return json.dumps(document, indent=2, allow_nan=False)
