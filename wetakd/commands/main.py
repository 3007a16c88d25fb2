"""The command `wetakd`. Results go to standard output, progress and complaints to standard error.

Exit codes: 0 done, 1 our own fault or work that failed, 2 the user's mistake, 130 interrupted, 141 the reader of
the output left before its end, 143 ended by SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn

import click

from wetakd.commands.completion import completion
from wetakd.commands.export import export
from wetakd.commands.gc import gc
from wetakd.commands.init import init
from wetakd.commands.job_commands import status, stop, submit
from wetakd.commands.ls import list_studies
from wetakd.commands.options import EXIT_CODES
from wetakd.commands.plan import plan
from wetakd.commands.report import report
from wetakd.commands.run import run
from wetakd.commands.sync import sync
from wetakd.commands.ui import ui
from wetakd.commands.validate import validate
from wetakd.commands.weights import weights
from wetakd.commands.why import why
from wetakd.common.errors import UserError
from wetakd.common.guarded_output import READER_LEFT, GuardedStream, guard_output


def main() -> None:
    """Run the command and turn what went wrong into a line and an exit code."""
    with guard_output() as stdout:
        code = _run(stdout)
    _leave(READER_LEFT if stdout.is_broken and code == 0 else code)


def _run(stdout: GuardedStream) -> int:
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
    except SystemExit as ended:
        if stdout.is_broken:  # click exits with 1
            return READER_LEFT
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


class _Commands(click.Group):
    """Click takes every broken pipe for a reader of our output that left, and exits without a word."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; the broken pipe of a connection is an error like any other."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            if getattr(sys.stdout, "is_broken", False):
                raise
            traceback.print_exc()
            return 1


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EXIT_CODES
)
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


_STUDIES = (init, plan, validate, run, why, report, ui, export)
_STORAGE = (list_studies, gc, sync)
_JOBS = (submit, status, stop)
for command in (*_STUDIES, *_STORAGE, *_JOBS, weights, completion):
    commands.add_command(command)
