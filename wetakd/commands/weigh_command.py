"""The command `wetakd weigh`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wetakd.commands.options import EXIT_CODES, JSON_OPTION

if TYPE_CHECKING:
    from wetakd.weights.ensemble_problem import Objective
    from wetakd.weights.network_scores import ScoreKind

KINDS = click.Choice(["probabilities", "logits"])


@click.command(short_help="Search weights for networks trained elsewhere.", epilog=EXIT_CODES)
@click.argument("scores", type=click.Path())
@click.argument("labels", type=click.Path())
@click.option("--scores-are", type=KINDS, required=True, help="What SCORES holds.")
@click.option("--mixture", type=KINDS, default="probabilities", show_default=True, help="What is averaged.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Logits are divided by it first.")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME", help="May be repeated.  [default: all]")
@click.option("--objective", type=click.Choice(["accuracy", "log_loss"]), default="accuracy", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@JSON_OPTION
def weigh(
    scores: str,
    labels: str,
    scores_are: ScoreKind,
    mixture: ScoreKind,
    temperature: float,
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

    weighings = files.weigh_files(
        scores,
        labels,
        scores_are=scores_are,
        temperature=temperature,
        mixture=mixture,
        strategies=strategies,
        seed=seed,
        objective=objective,
    )
    click.echo(files.to_json(weighings) if as_json else files.table(weighings))
