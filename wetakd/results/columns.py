"""Columns of the result tables: one row a trial, a network, an epoch, or a contribution."""

from __future__ import annotations

import pyarrow as pa

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()


TRIALS = pa.schema(
    [
        ("strategy", _TEXT),
        ("assistants", pa.list_(_TEXT)),
        ("num_assistants", _INT),
        ("assistant_parameters", _INT),
        ("replicate", _INT),
        ("seed", _INT),
        ("point", _TEXT),
        ("weights", pa.list_(_FLOAT)),
        ("evaluations", _INT),
        ("search_seconds", _FLOAT),
        ("accuracy_cap", _FLOAT),
        ("gap", _FLOAT),
        ("crossfit_gain", _FLOAT),
        ("crossfit_error", _FLOAT),
        ("ensemble_weigh_accuracy", _FLOAT),
        ("ensemble_weigh_nll", _FLOAT),
        ("ensemble_choose_accuracy", _FLOAT),
        ("ensemble_choose_nll", _FLOAT),
        ("ensemble_test_accuracy", _FLOAT),
        ("ensemble_test_nll", _FLOAT),
        ("student_key", _TEXT),
        ("student_choose_accuracy", _FLOAT),
        ("student_test_accuracy", _FLOAT),
        ("student_test_macro_accuracy", _FLOAT),
        ("student_test_calibration_error", _FLOAT),
        ("student_test_nll", _FLOAT),
        ("train_seconds", _FLOAT),
        ("stopped_at_epoch", _INT),
        ("error", _TEXT),
        ("mlflow_run_id", _TEXT),
    ]
)


NETWORKS = pa.schema(
    [
        ("name", _TEXT),
        ("role", _TEXT),
        ("replicate", _INT),
        ("taught_by", pa.list_(_TEXT)),
        ("parameters", _INT),
        ("macs", _INT),
        ("choose_accuracy", _FLOAT),
        ("test_accuracy", _FLOAT),
        ("test_nll", _FLOAT),
        ("train_seconds", _FLOAT),
        ("key", _TEXT),
        ("trained", _BOOL),
        ("imported", _TEXT),
        ("error", _TEXT),
    ]
)


CURVES = pa.schema(
    [
        ("uid", _TEXT),
        ("kind", _TEXT),
        ("label", _TEXT),
        ("epoch", _INT),
        ("loss", _FLOAT),
        ("lr", _FLOAT),
        ("choose_accuracy", _FLOAT),
    ]
)


CONTRIBUTIONS = pa.schema([("replicate", _INT), ("name", _TEXT), ("leave_one_out", _FLOAT), ("shapley", _FLOAT)])
