"""The command `wetakd`. Results go to standard output, progress and complaints to standard error.

Exit codes: 0 done, 1 our own fault or work that failed, 2 the user's mistake, 130 interrupted, 143 ended by SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from shlex import quote
from shutil import which
from typing import TYPE_CHECKING, NoReturn

import click

from wetakd.commands.export_command import export
from wetakd.commands.job_commands import status, stop, submit
from wetakd.commands.options import EXIT_CODES, FILE, JSON, OVERRIDES, STORAGE, STUDY, storage_uri
from wetakd.commands.start_commands import completion, init
from wetakd.config import StudyConfig
from wetakd.config.study_file import load
from wetakd.errors import UserError
from wetakd.storage.store import Store

if TYPE_CHECKING:
    from wetakd.study import StudyResult
    from wetakd.weights.scores import Kind
    from wetakd.weights.strategy import Objective


def main() -> None:
    """Run the command and turn what went wrong into a line and an exit code."""
    _leave(_run())


def _run() -> int:
    # A study's own functions lie where it is run, as for `python -m`.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        code = commands(prog_name="wetakd", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except UserError as error:
        _complain(str(error))
        return 2
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted: run the same command again to go on from here")
        return 130
    except BrokenPipeError:
        # The reader of our output left; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as ended:
        # The answer to SIGTERM (`ray_cluster.joined`). Whoever else exits, such as the shell's completion, knows why.
        if ended.code != signal.SIGTERM:
            raise
        _complain("ended by SIGTERM: run the same command again to go on from here")
        return 128 + signal.SIGTERM
    except Exception:
        traceback.print_exc()
        return 1


def _leave(code: int) -> NoReturn:
    """End, though a thread may still drive a Ray Train run: it cannot be interrupted, and Python would wait for it."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _complain(text: str) -> None:
    print(f"wetakd: {text}", file=sys.stderr)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EXIT_CODES)
@click.version_option(package_name="wetakd")
def commands() -> None:
    """Compress a classifier: which teaching assistants, how many, mixed how, give the best student?

    \b
    First steps:
      wetakd run                   a whole study on digits, in a few minutes
      wetakd ui digits             look at it in MLflow
      wetakd init photos           write a study file for images of your own
      wetakd plan photos.yaml      what it would train
      wetakd run photos.yaml       run it; run it again after a crash to go on
      wetakd export photos         the winner, ready to ship
      wetakd submit photos.yaml    run it on a Ray cluster

    `wetakd COMMAND --help` says more of each.
    """


for command in (init, export, submit, status, stop, completion):
    commands.add_command(command)


@commands.command(short_help="Run a study and print its report.", epilog=EXIT_CODES)
@FILE
@OVERRIDES
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--revise", is_flag=True, help="Accept a file that changed under an old study name.")
@JSON
def run(file: str | None, overrides: tuple[str, ...], quiet: bool, revise: bool, as_json: bool) -> int:
    """Run the study FILE (a YAML file; without one, the embedded study of digits) and print its report.

    What storage holds already is not done again: after a crash or Ctrl-C, the same command goes on from there. Exit
    code 1 also where a student failed or MLflow lacks something; the last lines say which.

    \b
    Examples:
      wetakd run
      wetakd run my-study.yaml --set study.seeds=5 --set storage=s3://bucket/wetakd
      wetakd run my-study.yaml --quiet --json > report.json
    """
    from wetakd.progress import reporter
    from wetakd.study import Study

    config = load(file, overrides)
    result = Study(config, reporter=reporter(quiet), revise=revise).run()
    if as_json:
        click.echo(json.dumps(result.report.to_dict(), indent=2))
    else:
        click.echo(f"{result.report.text}\n\n{_closing_lines(config, result)}")
    return result.exit_code


def _closing_lines(config: StudyConfig, result: StudyResult) -> str:
    from wetakd.progress import duration
    from wetakd.report.wording import many

    lines = [
        f"{many(result.num_networks_trained, 'network')} and {many(result.num_students_trained, 'student')} trained "
        f"in {duration(result.seconds)}; the rest was on storage.",
        f"Files:   {Store(config.storage).shown}/studies/{config.study.name}/report.html and what stands beside it",
    ]
    if result.num_failed:
        lines.append(f"Failed:  {result.num_failed} trials have no student; the table says why")
    if not result.tracked:
        lines.append(f"MLflow:  does not have all of it yet; send the rest with: {_next('sync', config)}")
    elif config.mlflow.enabled:
        lines.append(f"MLflow:  {_next('ui', config)}")
    if result.winner is not None:
        lines.append(f"Winner:  {_next('export', config)}")
    return "\n".join(lines)


def _next(command: str, config: StudyConfig) -> str:
    """A command for this study that can be typed as it stands."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "wetakd" and which("wetakd") is None else "wetakd"
    storage = Store(config.storage).shown
    is_default = storage == Store(storage_uri(None)).shown
    return " ".join([program, command, config.study.name, *([] if is_default else ["--storage", quote(storage)])])


@commands.command(short_help="Say what a study would train and cost.", epilog=EXIT_CODES)
@FILE
@OVERRIDES
@JSON
def plan(file: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what the study FILE would train and cost, and what of it storage holds already. Trains nothing.

    Reads the images and builds every network, so whatever cannot work is said here.

    \b
    Examples:
      wetakd plan my-study.yaml
      wetakd plan my-study.yaml --set study.subsets=[2] --json
    """
    from dataclasses import asdict

    from wetakd import preflight
    from wetakd.forecast import forecast
    from wetakd.plan import Plan
    from wetakd.progress import reporter
    from wetakd.stages import load_data

    config = load(file, overrides)
    dataset = load_data(config, reporter(quiet=as_json))
    whole = Plan(config, dataset)
    preflight.check_models(config, dataset, whole)
    found = forecast(whole, Store(config.storage))
    click.echo(json.dumps(asdict(found), indent=2) if as_json else found.text)


@commands.command(short_help="Check a study file.", epilog=EXIT_CODES)
@FILE
@OVERRIDES
def validate(file: str | None, overrides: tuple[str, ...]) -> None:
    """Check the study FILE: every field, and how the fields fit together. Reads no data.

    \b
    Example:
      wetakd validate my-study.yaml
    """
    config = load(file, overrides)
    click.echo(
        f"{config.study.name}: fine. {len(config.assistants)} assistants, {len(config.subsets)} sets of networks, "
        f"{len(config.study.seeds)} seeds. Next: wetakd plan {file or ''}".rstrip()
    )


@commands.command(short_help="Print the report of STUDY.", epilog=EXIT_CODES)
@STUDY
@STORAGE
@JSON
def report(study: str, storage: str | None, as_json: bool) -> None:
    """Print the report of STUDY, rebuilt from what storage holds of it, and write its files anew.

    The files stand in studies/STUDY of the storage: report.html (one page, opens without a network), report.md,
    report.json, figures, and the tables as Parquet.

    \b
    Examples:
      wetakd report digits
      wetakd report digits --json --storage s3://bucket/wetakd
    """
    from wetakd.report.report import build
    from wetakd.report.results import Results
    from wetakd.stages import write_report
    from wetakd.storage.inventory import config_of

    store = Store(storage_uri(storage))
    config_of(store, study)
    built = build(Results.read(store, study))
    write_report(store, study, built.files())
    click.echo(json.dumps(built.to_dict(), indent=2) if as_json else built.text)


@commands.command(short_help="Open STUDY in MLflow.", epilog=EXIT_CODES)
@STUDY
@STORAGE
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def ui(study: str, storage: str | None, port: int) -> None:
    """Open STUDY in MLflow: starts its pages on this machine alone and prints the link. Ctrl-C ends them.

    Where the study was tracked by a server, it only prints the link.

    \b
    Example:
      wetakd ui digits --port 5001
    """
    from wetakd.commands import ui as pages
    from wetakd.storage.inventory import config_of
    from wetakd.tracking.journal import study_id
    from wetakd.tracking.tracking_uri import tracking_uri_of

    store = Store(storage_uri(storage))
    config = config_of(store, study)
    tracking_uri = tracking_uri_of(config.mlflow.tracking_uri, store)
    if not config.mlflow.enabled:
        raise UserError(f"study {study!r}: was run with mlflow.enabled false, so there is nothing to open")
    identity = study_id(store, study)
    if identity is None:
        raise UserError(f"study {study!r}: has told MLflow nothing yet; run it first")
    pages.show(tracking_uri, config.mlflow.experiment, identity, port, click.echo)


@commands.command(name="ls", short_help="List the studies on storage.", epilog=EXIT_CODES)
@STORAGE
@JSON
def list_studies(storage: str | None, as_json: bool) -> None:
    """List the studies on storage: name, state, size and winner.

    A study is `begun`, `done`, or `torn`: its results were damaged, and running it again makes them anew.

    \b
    Example:
      wetakd ls --storage s3://bucket/wetakd
    """
    from dataclasses import asdict

    from wetakd.report.wording import size
    from wetakd.storage.inventory import studies

    entries = studies(Store(storage_uri(storage)))
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    for entry in entries:
        click.echo(f"{entry.name:<24} {entry.state:<6} {size(entry.size):>8}  {entry.winner}")
    if not entries:
        click.echo("no studies here yet; start one with: wetakd run", err=True)


@commands.command(short_help="Delete what no study refers to.", epilog=EXIT_CODES)
@STORAGE
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
def gc(storage: str | None, dry_run: bool) -> None:
    """Delete what no study on storage refers to: networks, logits and students of deleted or revised studies.

    To delete a study, delete its folder studies/STUDY; this command then frees what it alone needed. Do not run it
    while a study runs on the same storage.

    \b
    Example:
      wetakd gc --dry-run
    """
    from wetakd.report.wording import size
    from wetakd.storage.inventory import refuse

    store = Store(storage_uri(storage))
    found = list(refuse(store))
    for item in found:
        click.echo(f"{size(item.size):>8}  {item.path}  ({item.why})")
        if not dry_run:
            store.delete(item.path)
    total = size(sum(item.size for item in found))
    click.echo(f"{len(found)} item(s), {total}, {'would be deleted' if dry_run else 'deleted'}")


@commands.command(short_help="Send MLflow what it still lacks of STUDY.", epilog=EXIT_CODES)
@STUDY
@STORAGE
@click.option("--timeout", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds to try.")
def sync(study: str, storage: str | None, timeout: float) -> int:
    """Send MLflow what it still lacks of STUDY, after its server was away. What it has is not sent twice.

    \b
    Example:
      wetakd sync digits --timeout 60
    """
    from wetakd.storage.inventory import config_of
    from wetakd.tracking.tracker import sync as send

    store = Store(storage_uri(storage))
    config = config_of(store, study)
    with store.lease(f"studies/{study}/lease.json"):
        complete = send(config, store, timeout)
    if not complete:
        _complain(f"study {study!r}: MLflow does not have all of it yet; try again")
        return 1
    click.echo(f"MLflow has all of study {study!r}")
    return 0


@commands.command(short_help="Search weights for networks trained elsewhere.", epilog=EXIT_CODES)
@click.argument("scores", type=click.Path())
@click.argument("labels", type=click.Path())
@click.option("--scores-are", type=click.Choice(["probabilities", "logits"]), required=True, help="What SCORES holds.")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME", help="May be repeated.  [default: all]")
@click.option("--objective", type=click.Choice(["accuracy", "log_loss"]), default="accuracy", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@JSON
def weigh(
    scores: str,
    labels: str,
    scores_are: Kind,
    strategies: tuple[str, ...],
    objective: Objective,
    seed: int,
    as_json: bool,
) -> None:
    """Search ensemble weights for networks that were trained elsewhere.

    SCORES holds what K networks say of N samples in C classes (.npy of shape K x N x C, .npz or Parquet with one
    array or column a network), LABELS the right classes (.npy, .npz or Parquet with a column `label`).

    \b
    Examples:
      wetakd weigh scores.npy labels.npy --scores-are logits
      wetakd weigh scores.parquet scores.parquet --scores-are probabilities --strategy convex --json
    """
    from wetakd.commands import weigh as files
    from wetakd.weights import STRATEGIES

    results = files.weigh_files(
        scores,
        labels,
        scores_are=scores_are,
        strategies=strategies or tuple(STRATEGIES),
        seed=seed,
        objective=objective,
    )
    click.echo(files.to_json(results) if as_json else files.table(results))
