"""`wetakd sync`: send MLflow what it does not have yet."""

from __future__ import annotations

import click

from wetakd.commands.options import EXIT_CODES, STORAGE_OPTION, STUDY_ARGUMENT, storage_at


@click.command(short_help="Send MLflow what it still lacks of STUDY.", epilog=EXIT_CODES)
@STUDY_ARGUMENT
@STORAGE_OPTION
@click.option("--timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds to try.")
def sync(study: str, storage: str | None, timeout: float) -> int:
    """Send MLflow what it still lacks of STUDY, after its server was away. What it has is not sent twice.

    \b
    Example:
      wetakd sync digits --timeout 60
    """
    from wetakd.plan.stored_studies import read_study_config
    from wetakd.storage.addresses import lease_path
    from wetakd.storage.lease import Lease
    from wetakd.storage.temporary_folders import remove_temporary_folders
    from wetakd.tracking.mlflow_tracker import send_journal

    store = storage_at(storage)
    config = read_study_config(store, study)
    with Lease(store, lease_path(study)):
        remove_temporary_folders(store, study)
        complete = send_journal(config, store, timeout)
    if not complete:
        click.echo(f"wetakd: study {study!r}: MLflow does not have all of it yet; try again", err=True)
        return 1
    click.echo(f"MLflow has all of study {study!r}")
    return 0
