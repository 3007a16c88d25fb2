"""Options that several commands share."""

from __future__ import annotations

import click

OVERRIDES = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Override a field, such as student.recipe.epochs=5.",
)
STORAGE = click.option(
    "--storage", default=None, metavar="URI", help="Folder or URI that keeps the studies.  [default: ./runs]"
)
ADDRESS = click.option(
    "--address",
    envvar="RAY_API_SERVER_ADDRESS",
    default="http://127.0.0.1:8265",
    show_default=True,
    metavar="URL",
    help="The cluster's dashboard; default also from RAY_API_SERVER_ADDRESS.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
