"""Columns of the result tables: one row a trial, a network, an epoch, or a contribution."""

from __future__ import annotations

import pyarrow as pa

STRATEGY = "strategy"
ASSISTANTS = "assistants"
NUM_ASSISTANTS = "num_assistants"
ASSISTANT_PARAMETERS = "assistant_parameters"
REPLICATE = "replicate"
SEED = "seed"
POINT = "point"
WEIGHTS = "weights"
EVALUATIONS = "evaluations"
SEARCH_SECONDS = "search_seconds"
ACCURACY_CAP = "accuracy_cap"
GAP = "gap"
CROSSFIT_GAIN = "crossfit_gain"
CROSSFIT_ERROR = "crossfit_error"
ENSEMBLE_WEIGH_ACCURACY = "ensemble_weigh_accuracy"
ENSEMBLE_WEIGH_NLL = "ensemble_weigh_nll"
ENSEMBLE_CHOOSE_ACCURACY = "ensemble_choose_accuracy"
ENSEMBLE_CHOOSE_NLL = "ensemble_choose_nll"
ENSEMBLE_TEST_ACCURACY = "ensemble_test_accuracy"
ENSEMBLE_TEST_NLL = "ensemble_test_nll"
STUDENT_KEY = "student_key"
STUDENT_DIGEST = "student_digest"
"""SHA-256 of the file of the weights that the row describes."""
STUDENT_CHOOSE_ACCURACY = "student_choose_accuracy"
STUDENT_TEST_ACCURACY = "student_test_accuracy"
STUDENT_TEST_MACRO_ACCURACY = "student_test_macro_accuracy"
STUDENT_TEST_CALIBRATION_ERROR = "student_test_calibration_error"
STUDENT_TEST_NLL = "student_test_nll"
TRAIN_SECONDS = "train_seconds"
STOPPED_AT_EPOCH = "stopped_at_epoch"
ERROR = "error"
MLFLOW_RUN_ID = "mlflow_run_id"
NAME = "name"
ROLE = "role"
TAUGHT_BY = "taught_by"
PARAMETERS = "parameters"
MACS = "macs"
CHOOSE_ACCURACY = "choose_accuracy"
TEST_ACCURACY = "test_accuracy"
TEST_NLL = "test_nll"
KEY = "key"
TRAINED = "trained"
IMPORTED = "imported"
UID = "uid"
KIND = "kind"
LABEL = "label"
EPOCH = "epoch"
LOSS = "loss"
LR = "lr"
LEAVE_ONE_OUT = "leave_one_out"
SHAPLEY = "shapley"

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()


TRIALS_SCHEMA = pa.schema(
    [
        (STRATEGY, _TEXT),
        (ASSISTANTS, pa.list_(_TEXT)),
        (NUM_ASSISTANTS, _INT),
        (ASSISTANT_PARAMETERS, _INT),
        (REPLICATE, _INT),
        (SEED, _INT),
        (POINT, _TEXT),
        (WEIGHTS, pa.list_(_FLOAT)),
        (EVALUATIONS, _INT),
        (SEARCH_SECONDS, _FLOAT),
        (ACCURACY_CAP, _FLOAT),
        (GAP, _FLOAT),
        (CROSSFIT_GAIN, _FLOAT),
        (CROSSFIT_ERROR, _FLOAT),
        (ENSEMBLE_WEIGH_ACCURACY, _FLOAT),
        (ENSEMBLE_WEIGH_NLL, _FLOAT),
        (ENSEMBLE_CHOOSE_ACCURACY, _FLOAT),
        (ENSEMBLE_CHOOSE_NLL, _FLOAT),
        (ENSEMBLE_TEST_ACCURACY, _FLOAT),
        (ENSEMBLE_TEST_NLL, _FLOAT),
        (STUDENT_KEY, _TEXT),
        (STUDENT_DIGEST, _TEXT),
        (STUDENT_CHOOSE_ACCURACY, _FLOAT),
        (STUDENT_TEST_ACCURACY, _FLOAT),
        (STUDENT_TEST_MACRO_ACCURACY, _FLOAT),
        (STUDENT_TEST_CALIBRATION_ERROR, _FLOAT),
        (STUDENT_TEST_NLL, _FLOAT),
        (TRAIN_SECONDS, _FLOAT),
        (STOPPED_AT_EPOCH, _INT),
        (ERROR, _TEXT),
        (MLFLOW_RUN_ID, _TEXT),
    ]
)


NETWORKS_SCHEMA = pa.schema(
    [
        (NAME, _TEXT),
        (ROLE, _TEXT),
        (REPLICATE, _INT),
        (TAUGHT_BY, pa.list_(_TEXT)),
        (PARAMETERS, _INT),
        (MACS, _INT),
        (CHOOSE_ACCURACY, _FLOAT),
        (TEST_ACCURACY, _FLOAT),
        (TEST_NLL, _FLOAT),
        (TRAIN_SECONDS, _FLOAT),
        (KEY, _TEXT),
        (TRAINED, _BOOL),
        (IMPORTED, _TEXT),
        (ERROR, _TEXT),
    ]
)


CURVES_SCHEMA = pa.schema(
    [
        (UID, _TEXT),
        (KIND, _TEXT),
        (LABEL, _TEXT),
        (EPOCH, _INT),
        (LOSS, _FLOAT),
        (LR, _FLOAT),
        (CHOOSE_ACCURACY, _FLOAT),
    ]
)


CONTRIBUTIONS_SCHEMA = pa.schema([(REPLICATE, _INT), (NAME, _TEXT), (LEAVE_ONE_OUT, _FLOAT), (SHAPLEY, _FLOAT)])
