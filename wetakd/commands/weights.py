"""`wetakd weights`: ensemble weights for networks that were trained elsewhere, from files of scores and labels."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from wetakd.commands.options import EXIT_CODES, JSON_OPTION

if TYPE_CHECKING:
    from wetakd.weights import SearchResult
    from wetakd.weights.ensemble_problem import Objective
    from wetakd.weights.network_scores import ScoreKind

SCORE_KINDS = click.Choice(["probabilities", "logits"])
WIDTH = 80


@click.command(short_help="Search weights for networks trained elsewhere.", epilog=EXIT_CODES)
@click.argument("scores", type=click.Path())
@click.argument("labels", type=click.Path())
@click.option("--scores-are", type=SCORE_KINDS, required=True, help="What SCORES holds.")
@click.option("--mixture", type=SCORE_KINDS, default="probabilities", show_default=True, help="What is averaged.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Logits are divided by it first.")
@click.option("--strategy", "strategies", multiple=True, metavar="NAME", help="May be repeated.  [default: all]")
@click.option("--objective", type=click.Choice(["accuracy", "log_loss"]), default="accuracy", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@JSON_OPTION
def weights(
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
      wetakd weights scores.npy labels.npy --scores-are logits
      wetakd weights scores.parquet scores.parquet --scores-are probabilities --strategy convex --json
    """
    found = search_files(
        scores,
        labels,
        scores_are=scores_are,
        temperature=temperature,
        mixture=mixture,
        strategies=strategies,
        seed=seed,
        objective=objective,
    )
    click.echo(weights_json(found) if as_json else weights_table(found))


@dataclass(frozen=True)
class FileWeights:
    """Results in the order asked for, and the networks' names."""

    names: list[str]
    results: list[SearchResult]


def search_files(
    scores: str,
    labels: str,
    *,
    scores_are: ScoreKind,
    temperature: float = 1.0,
    mixture: ScoreKind = "probabilities",
    strategies: Sequence[str] = (),
    **options: Any,
) -> FileWeights:
    """Search weights by each of the strategies (none: all of ours); `weights.search` explains the settings.

    Raises:
        UserError: a file that is missing, damaged or laid out otherwise, scores and labels that don't fit, an unknown
            strategy.
    """
    from wetakd.logits.array_files import read_labels, read_scores
    from wetakd.weights import STRATEGIES, Problem, solve_problem, strategy_named

    strategies = strategies or tuple(STRATEGIES)
    for strategy in strategies:
        strategy_named(strategy)  # a misspelt name is reported before a large file is read
    names, scores_KNC = read_scores(scores)
    problem = Problem(scores_KNC, read_labels(labels), scores_are=scores_are, temperature=temperature, mixture=mixture)
    return FileWeights(names, [solve_problem(problem, strategy, **options) for strategy in strategies])


def weights_table(found: FileWeights) -> str:
    """The results as text of at most 80 columns: a line each, what is certified, then the weights."""
    results = found.results
    rows = [f"{'strategy':13} {'accuracy':>8} {'nll':>7} {'evals':>7} {'seconds':>7}  cross-fitted gain"]
    for result in results:
        rows.append(
            f"{result.strategy[:13]:13} {result.accuracy:8.4f} {result.nll:7.4f} {result.evaluations:7} "
            f"{result.seconds:7.2f}  {_gain(result)}"
        )
    rows.append("")
    if any(result.crossfit_gain is not None for result in results):
        rows.append("Gain: points of accuracy over uniform weights on samples the search didn't see,")
        rows.append('± its standard error; "within its error": up to two of them.')
    rows.append(f"No weights are right more often than {results[0].accuracy_cap:.4f} on these samples.")
    rows += [
        f"No weights have an nll lower than that of {result.strategy} by more than {result.gap:.1g}."
        for result in results
        if result.gap is not None
    ]
    for result in results:
        weights = "  ".join(f"{name}={w:.3f}" for name, w in zip(found.names, result.weights, strict=True))
        rows.extend(textwrap.wrap(f"{result.strategy}: {weights}", WIDTH, subsequent_indent="    "))
    for warning in dict.fromkeys(warning for result in results for warning in result.warnings):
        rows.extend(textwrap.wrap(f"warning: {warning}", WIDTH, subsequent_indent="    "))
    return "\n".join(rows)


def _gain(result: SearchResult) -> str:
    if result.crossfit_gain is None or result.crossfit_error is None:
        return result.verdict
    words = result.verdict.removesuffix(" than uniform").removesuffix(" as uniform")
    return f"{100 * result.crossfit_gain:+.2f} ± {100 * result.crossfit_error:.2f} {words}"


def weights_json(found: FileWeights) -> str:
    """The networks' names and every field of every result."""
    document = {"networks": found.names, "results": [result.to_dict() for result in found.results]}
    return json.dumps(document, indent=2, allow_nan=False)
