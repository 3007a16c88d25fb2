"""`wetakd ls`: list the studies on storage."""

from __future__ import annotations

import json

import click

from wetakd.commands.options import EXIT_CODES, JSON_OPTION, STORAGE_OPTION, storage_at


@click.command(name="ls", short_help="List the studies on storage.", epilog=EXIT_CODES)
@STORAGE_OPTION
@JSON_OPTION
def list_studies(storage: str | None, as_json: bool) -> None:
    """List the studies on storage: name, state, size and winner.

    A study is `begun`, `done`, or `torn`: its summary is damaged, and running it again makes it anew. Its
    tables are not read.

    \b
    Example:
      wetakd ls --storage s3://bucket/wetakd
    """
    from dataclasses import asdict

    from wetakd.common.number_format import format_bytes
    from wetakd.plan.stored_studies import find_studies

    entries = find_studies(storage_at(storage))
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    for entry in entries:
        won = f"  winner: {entry.winner}" if entry.winner else ""
        click.echo(f"{entry.name:<24} {entry.state:<6} {format_bytes(entry.size):>8}{won}")
    if not entries:
        click.echo("no studies here yet; start one with: wetakd run", err=True)
