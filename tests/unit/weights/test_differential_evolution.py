import hashlib

import numpy as np
import pytest
from scipy.optimize._differentialevolution import DifferentialEvolutionSolver

from tests.unit.weights.made_scores import make_probabilities, naive_count
from wetakd.weights import Options, Problem, solve_problem
from wetakd.weights.differential_evolution import DifferentialEvolution, latin_hypercube, tutorial_call


@pytest.mark.parametrize(("num_networks", "num_classes", "seed"), [(3, 5, 0), (5, 10, 1)])
def test_the_scipy_engine_is_bit_equal_to_the_naive_objective(num_networks, num_classes, seed):
    scores_KNC, labels_N = make_probabilities(num_networks, 300, num_classes)

    def naive_energy(weights_K):
        weights_K = weights_K / weights_K.sum()
        return 1.0 - naive_count(scores_KNC, labels_N, weights_K) / len(labels_N)

    problem = Problem(scores_KNC, labels_N, scores_are="probabilities")

    def energy(weights_K):
        wrong = problem.losses(weights_K[None], "accuracy")[0]
        return 1.0 - (300 - wrong) / 300

    naive, ours = tutorial_call(naive_energy, num_networks, seed), tutorial_call(energy, num_networks, seed)
    found = DifferentialEvolution().find(problem, Options(seed=seed, engine="scipy"))
    assert naive.x.tobytes() == ours.x.tobytes() == found.weights_K.tobytes()
    assert naive.population.tobytes() == ours.population.tobytes()
    assert naive.population_energies.tobytes() == ours.population_energies.tobytes()
    assert naive.nfev == ours.nfev == found.evaluations


def test_the_first_population_is_scipys():
    solver = DifferentialEvolutionSolver(lambda x: 0.0, [(0.0, 1.0)] * 4, rng=np.random.default_rng(3))
    assert latin_hypercube(np.random.default_rng(3), 60, 4).tobytes() == solver.population.tobytes()


@pytest.mark.parametrize(
    ("num_networks", "num_classes", "objective", "digest"),
    [
        (3, 5, "accuracy", "9bbfafbc7b7feef1"),
        (5, 10, "accuracy", "6ba120a181b1b5d7"),
        (12, 10, "accuracy", "f963fa59702d50cb"),
    ],
)
def test_the_fast_engine_has_golden_digests(num_networks, num_classes, objective, digest):
    generator = np.random.default_rng(7)
    labels_N = generator.integers(num_classes, size=500)
    votes_KNC = generator.integers(1, 100, size=(num_networks, 500, num_classes))
    votes_KNC[:, np.arange(500), labels_N] += generator.integers(90, size=(num_networks, 500))
    # Quotients of integers: no exp or log, whose last bit differs between machines, stands before the search.
    problem = Problem(votes_KNC / votes_KNC.sum(axis=2, keepdims=True), labels_N, scores_are="probabilities")
    found = DifferentialEvolution().find(problem, Options(seed=2, objective=objective, max_evaluations=20_000))
    assert hashlib.sha256(found.weights_K.tobytes()).hexdigest()[:16] == digest


def test_both_engines_are_equally_good_over_seeds():
    problem = Problem(*make_probabilities(5, 500, 10), scores_are="probabilities")
    wrong = {
        engine: [solve_problem(problem, "de", seed=s, engine=engine, crossfit=False).accuracy * 500 for s in range(6)]
        for engine in ("fast", "scipy")
    }
    assert abs(np.mean(wrong["fast"]) - np.mean(wrong["scipy"])) <= 1.5


def test_it_finds_the_best_of_two_networks():
    scores_KNC, labels_N = make_probabilities(2, 200, 4)
    best = max(naive_count(scores_KNC, labels_N, np.array([t, 1 - t])) for t in np.linspace(0, 1, 2001))
    result = solve_problem(Problem(scores_KNC, labels_N, scores_are="probabilities"), "de")
    assert result.accuracy * 200 >= best
