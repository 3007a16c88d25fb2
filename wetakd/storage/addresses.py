"""Where everything is stored: the folder of each kind of result, by key, and the folder of each study."""

from __future__ import annotations

_NETWORKS = "networks"
_LOGIT_CACHES = "caches"
_SEARCHES = "searches"
_STUDENTS = "students"
_EVALUATIONS = "evaluations"
RESULT_FOLDERS = (_NETWORKS, _LOGIT_CACHES, _SEARCHES, _STUDENTS, _EVALUATIONS)
"""The folders of results with keys, which studies share."""

_FAILURES = "failures"
STUDIES = "studies"
WORKER_GROUPS = "train"
"""What Ray Train writes for worker groups."""

WEIGHTS_BLOB = "weights.safetensors"
"""The blob of a network or student that holds its weights."""


def network_address(key: str) -> str:
    """Where the network `key` is stored."""
    return f"{_NETWORKS}/{key}"


def logit_cache_address(key: str) -> str:
    """Where the logit cache `key` is stored."""
    return f"{_LOGIT_CACHES}/{key}"


def search_address(key: str) -> str:
    """Where the search `key` is stored."""
    return f"{_SEARCHES}/{key}"


def contributions_address(key: str) -> str:
    """Where the contributions of the networks of a pool are stored."""
    return f"{_SEARCHES}/{key}"


def student_address(key: str) -> str:
    """Where the student `key` is stored."""
    return f"{_STUDENTS}/{key}"


def evaluation_address(key: str) -> str:
    """Where the evaluation `key` of a student is stored."""
    return f"{_EVALUATIONS}/{key}"


def failure_address(address: str) -> str:
    """Where the failure of what belongs at `address` (such as `students/<key>`) is recorded."""
    return f"{_FAILURES}/{address}"


def study_folder(study: str) -> str:
    """The folder of a study: its file, results, report, journal and lease."""
    return f"{STUDIES}/{study}"


def study_path(study: str, name: str) -> str:
    """The file or folder `name` in the folder of a study."""
    return f"{study_folder(study)}/{name}"


def study_of(folder: str) -> str:
    """The name of the study whose folder this is."""
    return folder.removeprefix(f"{STUDIES}/")


def lease_path(study: str) -> str:
    """The lease of a study's driver."""
    return study_path(study, "lease.json")


def journal_folder(study: str) -> str:
    """The journal of the events that MLflow gets."""
    return study_path(study, "journal")


def temporary_folders_path(study: str) -> str:
    """Where a local storage keeps the temporary folders of a study."""
    return study_path(study, "tmp")
