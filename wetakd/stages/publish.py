"""The last stage: report, tables and the winner, to storage and to MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from wetakd.cluster.ray_cluster import session_folder
from wetakd.common.errors import UserError
from wetakd.export.model_card import student_description
from wetakd.export.shipped_student import MODEL_NAME, save_mlflow_model
from wetakd.plan.outcomes import Networks, TrainedStudent
from wetakd.plan.result_addresses import network_result_addresses, student_addresses
from wetakd.plan.study_references import record_references
from wetakd.plan.trials import Trial
from wetakd.report.report import Report, build_report
from wetakd.results import columns
from wetakd.results.stored_results import Results
from wetakd.stages.study_context import StudyContext
from wetakd.stages.training_run import load_model
from wetakd.storage.addresses import student_address, study_path
from wetakd.storage.atomic_store import Store
from wetakd.storage.temporary_folders import temporary_folder
from wetakd.tracking.study_logger import STUDY_RUN

TRACKING_S = 120.0
"""MLflow may be this far behind when a study ends; what is not sent by then, `wetakd sync` sends."""


def publish(
    study: StudyContext, networks: Networks, students: Mapping[Trial, TrainedStudent], results: Results
) -> tuple[Results, Report, bool]:
    """Report, figures and winner: to storage and to MLflow. Returns whether MLflow has all of it."""
    with study.stage("report", 1.0):
        report = build_report(results)
        files = report.files()
        study.study_logger.log_networks(networks, results.networks)
        study.study_logger.log_trials(results.trials, study.plan.trials)
        shown = files | {"trials.csv": results.trials.drop(columns=columns.MLFLOW_RUN_ID).to_csv(index=False).encode()}
        study.study_logger.log_report(
            report.description, shown, report.headline(), int(results.trials[columns.ERROR].isna().sum())
        )
        _ship(study, results)
        failed = bool(results.trials[columns.ERROR].notna().any())
        study.study_logger.end_study(failed)
        tracked = study.tracker.flush(TRACKING_S)
        run_ids = [study.tracker.run_id(trial.uid) for trial in study.plan.trials]
        results = replace(results, trials=results.trials.assign(mlflow_run_id=pd.Series(run_ids, dtype=object)))
        study.lease.check()
        addresses = network_result_addresses(study.plan, networks) | student_addresses(students.values(), study.dataset)
        record_references(study.store, study.plan, addresses, replace=True)  # not what pruned students left
        write_report(study.store, results.study, files)
        # The summary comes last: where it is, everything is.
        results.write(study.store)
    # As storage has it, so that a run and its rerun, which only reads, give the same rows in the same order.
    return Results.read(study.store, results.study), report, tracked


def write_report(store: Store, study: str, files: Mapping[str, bytes]) -> None:
    """Put the report's files into the study's folder."""
    for name, content in files.items():
        store.write(study_path(study, name), content)


def _shipped_before(study: StudyContext) -> str | None:
    try:
        winner = Results.read(study.store, study.config.study.name).winner
    except UserError:  # none yet, or damaged
        return None
    return winner.student_key if winner else None


def _ship(study: StudyContext, results: Results) -> None:
    """Log the winner as an MLflow model, unless the study has shipped this very student before."""
    winner = results.winner
    if winner is None or winner.student_key == _shipped_before(study) or not study.config.mlflow.enabled:
        return
    manifest = study.store.find(student_address(winner.student_key))
    assert manifest is not None, "the winner was finished a moment ago"
    block = study.plan.student_config(winner.point)
    student = load_model(study.store, manifest, block.model, study.dataset)
    text = student_description(study.config, block, study.dataset, results)
    with temporary_folder(study.store, results.study, session=session_folder()) as folder:
        save_mlflow_model(student, study.dataset, folder / MODEL_NAME)
        _store_model(study.store, results.study, folder / MODEL_NAME)
        study.tracker.log_model(
            STUDY_RUN,
            str(folder / MODEL_NAME),
            name=MODEL_NAME,
            description=text,
            register_as=study.config.mlflow.register_as,
        )


def _store_model(store: Store, study: str, folder: Path) -> None:
    """Keep the winner's MLflow model in the study's folder, too: MLflow's copy may be lost or elsewhere."""
    target = study_path(study, MODEL_NAME)
    store.delete(target)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        store.write(f"{target}/{path.relative_to(folder).as_posix()}", path.read_bytes())
