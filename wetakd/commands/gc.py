"""`wetakd gc`: delete what no study refers to."""

from __future__ import annotations

import click

from wetakd.commands.options import EXIT_CODES, STORAGE_OPTION, storage_at


@click.command(short_help="Delete what no study refers to.", epilog=EXIT_CODES)
@STORAGE_OPTION
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def gc(storage: str | None, dry_run: bool) -> None:
    """Delete what no study on storage refers to: networks, logits and students of deleted or revised studies.

    To delete a study, delete its folder studies/STUDY; this command then frees what it alone needed. While a study runs
    on the same storage, everything newer than its start is kept.

    \b
    Example:
      wetakd gc --dry-run
    """
    from wetakd.common.number_format import format_bytes
    from wetakd.plan.orphans import find_orphans

    store = storage_at(storage)
    held, found = store.size(), list(find_orphans(store))
    for item in found:
        click.echo(f"{format_bytes(item.size):>8}  {item.path}  ({item.why})")
        if not dry_run:
            store.delete(item.path)
    total = format_bytes(sum(item.size for item in found))
    click.echo(f"{len(found)} item(s), {total} of {format_bytes(held)}, {'would be deleted' if dry_run else 'deleted'}")
