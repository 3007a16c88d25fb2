"""The command `wetakd`. Results go to standard output, progress and complaints to standard error.

Exit codes: 0 done, 1 our own fault or work that failed, 2 the user's mistake, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from wetakd.config import StudyConfig, load
from wetakd.errors import UserError

_OVERRIDES = click.option(
    "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Override a field, such as student.recipe.epochs=5."
)
_STORAGE = click.option(
    "--storage", default=None, metavar="URI", help="Folder or URI that keeps the studies.  [default: ./runs]"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def main() -> None:
    """Run the command and turn what went wrong into a line and an exit code."""
    try:
        code = commands(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except UserError as error:
        _complain(str(error))
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted: run the same command again to go on from here")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output left; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _complain(text: str) -> None:
    print(f"wetakd: {text}", file=sys.stderr)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="wetakd")
def commands() -> None:
    """Compress a classifier: which teaching assistants, how many, mixed how, give the best student?

    \b
    First steps:
      wetakd run                   a whole study on digits, in about two minutes
      wetakd ui digits             look at it in MLflow
      wetakd plan my-study.yaml    what a study of your own would train
      wetakd run my-study.yaml     run it; run it again after a crash to go on
    """


@commands.command()
@click.argument("file", required=False)
@_OVERRIDES
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--revise", is_flag=True, help="Accept a file that changed under an old study name.")
@_JSON
def run(file: str | None, overrides: tuple[str, ...], quiet: bool, revise: bool, as_json: bool) -> int:
    """Run the study FILE (a YAML file; without one, the embedded study of digits) and print its report.

    What storage holds already is not done again: after a crash, the same command goes on from there.
    """
    from wetakd.progress import reporter
    from wetakd.study import Study

    config = load(file, overrides)
    result = Study(config, reporter=reporter(quiet), revise=revise).run()
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        click.echo(result.report.text)
        click.echo(result.closing_lines)
    return result.exit_code
