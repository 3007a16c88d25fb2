"""The command `wetakd weigh`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wetakd.commands.options import EXIT_CODES, JSON

if TYPE_CHECKING:
    from wetakd.weights.scores import Kind
    from wetakd.weights.strategy import Objective


@click.command(short_help="Search weights for networks trained elsewhere.", epilog=EXIT_CODES)
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
