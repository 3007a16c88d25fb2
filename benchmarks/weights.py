"""The weight search against what everybody writes: microseconds a candidate and ratios, measured in turns in one run.

    python benchmarks/weights.py                    every size, ten seeds for the quality
    python benchmarks/weights.py --sizes 5,10       one size
    python benchmarks/weights.py --quick            few candidates and seeds

The rivals, each minimising 1 - accuracy of the weighted average by `scipy.optimize.differential_evolution`:

a  the tutorial to the letter: normalise, np.array, tensordot, argmax, accuracy_score, on cached float32 predictions
b  the charitable form of it: one float64 array, no sklearn
c  `vectorized=True` with a float32 matrix product, eight candidates at once (larger blocks leave the cache)
d  where installed (`pip install wetakd[bench-weights]`): pymoo's DE and pycma on our own count, that is their overhead;
   AutoGluon's greedy selection on the predictions, against our `greedy`: the same algorithm, 50 rounds of K candidates

A rival's cost is that of a sample of its candidates, scipy's overhead included; ours is that of whole searches, our
loop included. Quality compares whole searches: scipy's population on the compiled rows is bit-equal to that of a and b.
"""

import argparse
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import differential_evolution
from sklearn.metrics import accuracy_score
from threadpoolctl import threadpool_limits

from wetakd.weights import Problem, solve_problem

Array = NDArray[Any]
SIZES = {(5, 10): 5_000, (16, 10): 5_000, (5, 100): 5_000, (16, 100): 5_000, (5, 1000): 50_000}
TARGETS = {(5, 10): (195, 50), (16, 10): (219, 49), (5, 100): (541, 160), (16, 100): (578, 128)}


def make_pool(num_networks: int, num_classes: int, num_samples: int) -> tuple[Array, Array]:
    """Probabilities of networks of differing depth: shared noise, own noise, hard samples, experts, over-confidence."""
    generator = np.random.default_rng(0)
    low, high = {10: (3.15, 4.1), 100: (3.25, 4.15)}.get(num_classes, (4.4, 5.4))
    labels_N = generator.integers(num_classes, size=num_samples)
    shared_NC = generator.standard_normal((num_samples, num_classes), dtype=np.float32)
    difficulty_N1 = generator.lognormal(0, 0.35, size=(num_samples, 1)).astype(np.float32)
    pool_KNC = np.empty((num_networks, num_samples, num_classes), dtype=np.float32)
    for scores_NC, skill in zip(
        pool_KNC, generator.permutation(np.linspace(low, high, num_networks)).tolist(), strict=True
    ):
        scores_NC[:] = generator.standard_normal(scores_NC.shape, dtype=np.float32)
        scores_NC *= 0.4**0.5
        scores_NC += 0.6**0.5 * shared_NC
        scores_NC *= 1.2 * difficulty_N1
        scores_NC[np.arange(num_samples), labels_N] += skill + generator.normal(0, 0.35, size=num_classes)[labels_N]
        scores_NC *= generator.uniform(0.8, 2.2)
        scores_NC -= scores_NC.max(axis=1, keepdims=True)
        np.exp(scores_NC, out=scores_NC)
        scores_NC /= scores_NC.sum(axis=1, keepdims=True)
    return pool_KNC, labels_N


class Enough(Exception):
    """Ends a rival's search once its sample of candidates is timed."""


def tutorial(pool_KNC: Array, labels_N: Array) -> Callable[[Array], float]:
    members = list(pool_KNC)

    def loss(weights: Array) -> float:
        result = np.linalg.norm(weights, 1)
        normalized = weights if result == 0.0 else weights / result
        yhats = np.array(members)
        summed = np.tensordot(yhats, normalized, axes=((0), (0)))
        return 1.0 - float(accuracy_score(labels_N, np.argmax(summed, axis=1)))

    return loss


def charitable(pool_KNC: Array, labels_N: Array) -> Callable[[Array], float]:
    cache_KNC = pool_KNC.astype(np.float64)

    def loss(weights: Array) -> float:
        summed_NC = np.tensordot(weights / weights.sum(), cache_KNC, axes=1)
        return 1.0 - float(np.mean(summed_NC.argmax(axis=1) == labels_N))

    return loss


def vectorised(pool_KNC: Array, labels_N: Array) -> Callable[[Array], Array]:
    flat_KX = pool_KNC.reshape(len(pool_KNC), -1)

    def loss(weights_KP: Array) -> Array:
        weights_PK = (weights_KP / weights_KP.sum(axis=0)).T.astype(np.float32)
        accuracy = [
            ((block @ flat_KX).reshape(len(block), len(labels_N), -1).argmax(axis=2) == labels_N).mean(axis=1)
            for block in np.array_split(weights_PK, -(-len(weights_PK) // 8))
        ]
        return 1.0 - np.concatenate(accuracy)

    return loss


def microseconds(loss: Callable[[Array], Any], num_networks: int, num_candidates: int, vector: bool = False) -> float:
    """Time a candidate within scipy's own search, of the first `num_candidates`."""
    seen, started = 0, time.perf_counter()

    def timed(weights: Array) -> Any:
        nonlocal seen
        if seen >= num_candidates:
            raise Enough
        seen += weights.shape[1] if vector else 1
        return loss(weights)

    bounds = [(0.0, 1.0)] * num_networks
    settings = {"vectorized": True, "updating": "deferred"} if vector else {}
    with suppress(Enough, RuntimeError):
        differential_evolution(timed, bounds, maxiter=1000, tol=1e-7, polish=False, rng=0, **settings)
    return (time.perf_counter() - started) / seen * 1e6


def fresh(pool_KNC: Array, labels_N: Array) -> tuple[Problem, float]:
    """A compiled problem, and the seconds that took."""
    started = time.perf_counter()
    problem = Problem(pool_KNC, labels_N, scores_are="probabilities")
    assert problem.accuracy_rows.accuracy_cap <= 1
    return problem, time.perf_counter() - started


def in_turns(
    pool_KNC: Array, labels_N: Array, problem: Problem, rounds: int, sample_seconds: float
) -> dict[str, Array]:
    """Microseconds a candidate of each rival and of ours, [rounds]."""
    num_networks = len(pool_KNC)
    rivals: dict[str, Callable[[Array], Any]] = {
        "a": tutorial(pool_KNC, labels_N),
        "b": charitable(pool_KNC, labels_N),
        "c": vectorised(pool_KNC, labels_N),
    }
    sizes = {}
    for name, loss in rivals.items():
        one = microseconds(loss, num_networks, 2, vector=name == "c")
        sizes[name] = int(np.clip(sample_seconds * 1e6 / one, 3, 3000))
    measured: dict[str, list[float]] = {name: [] for name in (*rivals, "ours")}
    for turn in range(rounds):
        for name, loss in rivals.items():
            measured[name].append(microseconds(loss, num_networks, sizes[name], vector=name == "c"))
        results = [solve_problem(problem, "de", seed=3 * turn + s, crossfit=False) for s in range(3)]
        measured["ours"].append(sum(r.seconds for r in results) / sum(r.evaluations for r in results) * 1e6)
    return {name: np.array(values) for name, values in measured.items()}


def peers(pool_KNC: Array, labels_N: Array, problem: Problem) -> list[str]:
    """Other packages' optimisers: what they add to a candidate of ours; AutoGluon's, which counts for itself."""
    lines = []
    if find_spec("autogluon") and len(labels_N) <= 5_000:  # of 50,000 samples it would take minutes
        lines.append(_autogluon(pool_KNC, labels_N, problem))
    if find_spec("pymoo"):
        lines.append(_pymoo(problem))
    if find_spec("cma"):
        lines.append(_pycma(problem))
    return lines or ["  d  none of AutoGluon, pymoo and pycma is installed"]


def _autogluon(pool_KNC: Array, labels_N: Array, problem: Problem) -> str:
    from autogluon.core.metrics import accuracy
    from autogluon.core.models.greedy_ensemble.ensemble_selection import (
        EnsembleSelection,
    )

    theirs, ours = [], []
    for _ in range(3):
        started = time.perf_counter()
        selection = EnsembleSelection(50, "multiclass", accuracy).fit(list(pool_KNC), labels_N)
        theirs.append((time.perf_counter() - started) / 50 / len(pool_KNC) * 1e6)
        result = solve_problem(problem, "greedy", crossfit=False)
        ours.append(result.seconds / result.evaluations * 1e6)
    wrong = [round((1 - problem.evaluate(w)[0]) * len(labels_N)) for w in (selection.weights_, result.weights)]
    ratios = np.array(theirs) / ours
    spread = f"x{np.median(ratios):.0f} (x{ratios.min():.0f} to x{ratios.max():.0f})"
    return (
        f"  d  AutoGluon's greedy    {np.median(theirs):8.1f} us a candidate, {wrong[0]} wrong; "
        f"our greedy {np.median(ours):.1f} us, {wrong[1]} wrong: {spread}"
    )


def _pymoo(problem: Problem) -> str:
    from pymoo.algorithms.soo.nonconvex.de import DE
    from pymoo.core.problem import Problem as Task
    from pymoo.optimize import minimize

    class Weigh(Task):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=problem.num_networks, n_obj=1, xl=0.0, xu=1.0)

        def _evaluate(self, x: Array, out: dict[str, Array], *args: Any, **kwargs: Any) -> None:
            out["F"] = problem.losses(x, "accuracy")

    started = time.perf_counter()
    found = minimize(
        Weigh(), DE(pop_size=15 * problem.num_networks, variant="DE/best/1/bin", CR=0.7), ("n_gen", 60), seed=0
    )
    cost = (time.perf_counter() - started) / found.algorithm.evaluator.n_eval * 1e6
    return f"  d  pymoo DE on our count {cost:8.1f} us a candidate, {int(found.F[0])} wrong after 60 generations"


def _pycma(problem: Problem) -> str:
    import cma

    search = cma.CMAEvolutionStrategy(
        [0.5] * problem.num_networks, 0.25, {"bounds": [0, 1], "seed": 1, "verbose": -9, "maxfevals": 20_000}
    )
    started = time.perf_counter()
    while not search.stop():
        weights_MK = np.array(search.ask())
        search.tell(list(weights_MK), problem.losses(weights_MK, "accuracy").tolist())
    cost = (time.perf_counter() - started) / search.result.evaluations * 1e6
    wrong, evaluations = int(search.result.fbest), search.result.evaluations
    return f"  d  pycma on our count    {cost:8.1f} us a candidate, {wrong} wrong after {evaluations} candidates"


def quality(problem: Problem, num_seeds: int) -> list[str]:
    """Wrong samples and candidates of both engines over seeds."""
    lines = []
    for engine in ("scipy", "fast"):
        results = [solve_problem(problem, "de", seed=s, engine=engine, crossfit=False) for s in range(num_seeds)]
        wrong = np.array([round((1 - r.accuracy) * problem.num_samples) for r in results])
        error = wrong.std(ddof=1) / num_seeds**0.5 if num_seeds > 1 else 0.0
        name = "bit-equal to a and b" if engine == "scipy" else "ours"
        lines.append(
            f"  {name:21} {wrong.mean():8.1f} ± {error:3.1f} wrong, {np.mean([r.evaluations for r in results]):7.0f} "
            f"candidates, {np.mean([r.seconds for r in results]):6.2f} s a search ({num_seeds} seeds)"
        )
    return lines


def report(size: tuple[int, int], rounds: int, sample_seconds: float, num_seeds: int) -> None:
    num_networks, num_classes = size
    num_samples = SIZES[size]
    pool_KNC, labels_N = make_pool(num_networks, num_classes, num_samples)
    problem, compiling = fresh(pool_KNC, labels_N)
    rows = problem.accuracy_rows
    print(
        f"\nK={num_networks} C={num_classes} N={num_samples}: {rows.num_disputed} samples disputed, "
        f"{num_samples * (num_classes - 1)} rows -> {len(rows.rows_RK)}, no weights above {rows.accuracy_cap:.4f}"
    )
    started = time.perf_counter()
    solve_problem(problem, "de", crossfit=False)
    whole = time.perf_counter() - started
    print(f"  from arrays to weights: {compiling + whole:.2f} s, of which checking and compiling {compiling:.2f} s")
    measured = in_turns(pool_KNC, labels_N, problem, rounds, sample_seconds)
    ours = measured["ours"]
    print(f"  ours {np.median(ours):26.1f} us a candidate (rounds {ours.min():.1f} to {ours.max():.1f})")
    for place, name in enumerate("abc"):
        ratios = measured[name] / ours
        goal = f", aim x{TARGETS[size][place]}" if size in TARGETS and place < 2 else ""
        best = measured[name].min() / ours.min()
        print(
            f"  {name} {np.median(measured[name]):29.1f} us a candidate: x{np.median(ratios):.0f} "
            f"(x{ratios.min():.0f} to x{ratios.max():.0f}, best by best x{best:.0f}{goal})"
        )
    for line in [*peers(pool_KNC, labels_N, problem), *(quality(problem, num_seeds) if num_seeds else [])]:
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", action="append", help="K,C as in 5,10; may be given several times; default: all")
    parser.add_argument("--seeds", type=int, help="searches for the quality (0: none; default 10, 3 at N=50,000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each rival")
    parser.add_argument("--quick", action="store_true", help="two rounds, two seeds, small samples")
    chosen = parser.parse_args()
    sizes = [(int(k), int(c)) for k, c in (text.split(",") for text in chosen.sizes or [])] or list(SIZES)
    if unknown := [size for size in sizes if size not in SIZES]:
        parser.error(f"--sizes: {unknown[0]} is none of {list(SIZES)}")
    print(f"{platform.processor() or platform.machine()}, Python {sys.version.split()[0]}, numpy {np.__version__}")
    with threadpool_limits(1):
        for size in sizes:
            default_seeds = 2 if chosen.quick else 10 if SIZES[size] == 5_000 else 3
            seeds = default_seeds if chosen.seeds is None else chosen.seeds
            report(size, 2 if chosen.quick else chosen.rounds, 0.1 if chosen.quick else 0.5, seeds)


if __name__ == "__main__":
    main()
