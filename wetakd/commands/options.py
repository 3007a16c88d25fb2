"""Options that several commands share."""

from __future__ import annotations

import os
import sys

import click
from click.shell_completion import CompletionItem

from wetakd.cluster.job_submission import DEFAULT_ADDRESS
from wetakd.storage.addresses import STUDIES, study_of
from wetakd.storage.atomic_store import Store
from wetakd.storage.format_number import check_format

EXIT_CODES = (
    "Exit codes: 0 done, 1 work that failed or our own fault, 2 a mistake of yours, 130 interrupted, 141 the reader "
    "of the output left before its end, 143 ended by SIGTERM."
)


def storage_uri(given: str | None) -> str:
    """Where the studies are: what was given, the environment's WETAKD_STORAGE, or ./runs."""
    return given or os.environ.get("WETAKD_STORAGE") or "./runs"


def storage_at(given: str | None) -> Store:
    """The storage of `storage_uri`; raises UserError where it cannot be read, or has another format."""
    store = Store(storage_uri(given))
    store.check_readable()
    check_format(store)
    return store


def search_working_directory() -> None:
    """Find the functions of a study in the working directory, too, after everything that is installed.

    Only commands that run such functions call this.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _complete_study(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of studies, for the shell."""
    folders = Store(storage_uri(context.params.get("storage"))).folders(STUDIES)
    return [CompletionItem(name) for name in map(study_of, folders) if name.startswith(begun)]


FILE_ARGUMENT = click.argument("file", required=False, type=click.Path())
STUDY_ARGUMENT = click.argument("study", shell_complete=_complete_study)

OVERRIDES_OPTION = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Override a field, such as student.recipe.epochs=5.",
)
STORAGE_OPTION = click.option(
    "--storage", default=None, metavar="URI", help="Folder or URI that keeps the studies.  [default: ./runs]"
)
ADDRESS_OPTION = click.option(
    "--address",
    envvar="RAY_API_SERVER_ADDRESS",
    default=DEFAULT_ADDRESS,
    show_default=True,
    metavar="URL",
    help="The cluster's dashboard; default also from RAY_API_SERVER_ADDRESS.",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
