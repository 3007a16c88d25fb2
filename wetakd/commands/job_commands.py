"""The commands `wetakd submit`, `status` and `stop`: studies as jobs of a Ray cluster."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from wetakd.cluster.job_submission import DEFAULT_ADDRESS, Cluster, JobState
from wetakd.commands.options import ADDRESS_OPTION, EXIT_CODES, JSON_OPTION, OVERRIDES_OPTION
from wetakd.common.redact import redact


@click.command(short_help="Run a study as a job of a Ray cluster.", epilog=EXIT_CODES)
@click.argument("file", type=click.Path())
@OVERRIDES_OPTION
@ADDRESS_OPTION
@click.option("--working-dir", default=None, metavar="DIR", help="Folder to upload.  [default: that of FILE]")
@click.option("--follow", is_flag=True, help="Show its output until it ends, and end with its exit code.")
def submit(file: str, overrides: tuple[str, ...], address: str, working_dir: str | None, follow: bool) -> int:
    """Run the study FILE as a job of a Ray cluster, whose head and workers have wetakd installed.

    Prints the job's name. WETAKD_STORAGE and MLFLOW_TRACKING_URI of this shell go with it. Ctrl-C only stops following.

    \b
    Examples:
      wetakd submit my-study.yaml --set storage=s3://bucket/wetakd --follow
      wetakd submit my-study.yaml --address http://head:8265 --working-dir .
    """
    cluster = Cluster(address)
    job = cluster.submit(file, overrides, working_dir=working_dir)
    click.echo(job)
    if not follow:
        return 0
    try:
        return _print_state(cluster.follow(job, lambda text: click.echo(text, nl=False)))
    except KeyboardInterrupt:
        which = job if address == DEFAULT_ADDRESS else f"{job} --address {redact(address)}"
        hint = f"look at it with `wetakd status {which}`, end it with `wetakd stop {which}`"
        click.echo(f"wetakd: the job goes on; {hint}", err=True)
        return 130


@click.command(short_help="List the studies submitted to a cluster.", epilog=EXIT_CODES)
@click.argument("job", required=False)
@ADDRESS_OPTION
@JSON_OPTION
def status(job: str | None, address: str, as_json: bool) -> None:
    """List the studies submitted to a cluster, or say how JOB is.

    \b
    Example:
      wetakd status --address http://head:8265
    """
    cluster = Cluster(address)
    states = [cluster.job(job)] if job else cluster.jobs()
    if as_json:
        click.echo(json.dumps([asdict(state) for state in states], indent=2))
        return
    for state in states:
        _print_state(state)
    if not states:
        click.echo("no studies were submitted to this cluster", err=True)


@click.command(short_help="End a submitted study.", epilog=EXIT_CODES)
@click.argument("job")
@ADDRESS_OPTION
def stop(job: str, address: str) -> None:
    """End JOB. What it has finished stays on storage: submit the same file again to go on from there.

    \b
    Example:
      wetakd stop my-study-1c2d3e
    """
    _print_state(Cluster(address).stop(job))


def _print_state(state: JobState) -> int:
    """Print how a job is; the exit code that goes with it."""
    click.echo(f"{state.job:<32} {state.status:<10} {_gist(state.message)}".rstrip())
    if state.exit_code is not None:
        return state.exit_code
    return int(state.status in ("FAILED", "STOPPED"))


def _gist(message: str) -> str:
    """Our own last complaint, which stands at the end of what Ray says of a job that failed; else the first line."""
    lines = message.strip().splitlines()
    complaints = [line for line in lines if line.startswith("wetakd:")]
    return (complaints or lines[:1] or [""])[-1]
