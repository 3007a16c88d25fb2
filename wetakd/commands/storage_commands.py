"""The commands `wetakd ls`, `gc` and `sync`: what storage holds, and what MLflow still lacks of it."""

from __future__ import annotations

import json

import click

from wetakd.commands.options import EXIT_CODES, JSON, STORAGE, STUDY, storage_at


@click.command(name="ls", short_help="List the studies on storage.", epilog=EXIT_CODES)
@STORAGE
@JSON
def list_studies(storage: str | None, as_json: bool) -> None:
    """List the studies on storage: name, state, size and winner.

    A study is `begun`, `done`, or `torn`: its summary is damaged, and running it again makes it anew. Its
    tables are not read.

    \b
    Example:
      wetakd ls --storage s3://bucket/wetakd
    """
    from dataclasses import asdict

    from wetakd.common.number_format import size
    from wetakd.plan.stored_studies import studies

    entries = studies(storage_at(storage))
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    for entry in entries:
        won = f"  winner: {entry.winner}" if entry.winner else ""
        click.echo(f"{entry.name:<24} {entry.state:<6} {size(entry.size):>8}{won}")
    if not entries:
        click.echo("no studies here yet; start one with: wetakd run", err=True)


@click.command(short_help="Delete what no study refers to.", epilog=EXIT_CODES)
@STORAGE
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def gc(storage: str | None, dry_run: bool) -> None:
    """Delete what no study on storage refers to: networks, logits and students of deleted or revised studies.

    To delete a study, delete its folder studies/STUDY; this command then frees what it alone needed. While a study runs
    on the same storage, everything newer than its start is kept.

    \b
    Example:
      wetakd gc --dry-run
    """
    from wetakd.common.number_format import size
    from wetakd.plan.stored_studies import refuse

    store = storage_at(storage)
    held, found = store.size(), list(refuse(store))
    for item in found:
        click.echo(f"{size(item.size):>8}  {item.path}  ({item.why})")
        if not dry_run:
            store.delete(item.path)
    total = size(sum(item.size for item in found))
    click.echo(f"{len(found)} item(s), {total} of {size(held)}, {'would be deleted' if dry_run else 'deleted'}")


@click.command(short_help="Send MLflow what it still lacks of STUDY.", epilog=EXIT_CODES)
@STUDY
@STORAGE
@click.option("--timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds to try.")
def sync(study: str, storage: str | None, timeout: float) -> int:
    """Send MLflow what it still lacks of STUDY, after its server was away. What it has is not sent twice.

    \b
    Example:
      wetakd sync digits --timeout 60
    """
    from wetakd.plan.stored_studies import config_of
    from wetakd.storage.scratch import empty_scratch
    from wetakd.tracking.tracker import sync as send

    store = storage_at(storage)
    config = config_of(store, study)
    with store.lease(f"studies/{study}/lease.json"):
        empty_scratch(store, study)
        complete = send(config, store, timeout)
    if not complete:
        click.echo(f"wetakd: study {study!r}: MLflow does not have all of it yet; try again", err=True)
        return 1
    click.echo(f"MLflow has all of study {study!r}")
    return 0
