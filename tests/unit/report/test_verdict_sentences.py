"""The verdict says what the statistics show, and never more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.simulated_results import point, replaced, simulated
from wetakd.report.verdict_sentences import gain_text, verdict
from wetakd.results.findings import compute_findings
from wetakd.results.stored_results import Results


def said(results: Results) -> dict[str, str]:
    """Answers with their items by question."""
    return {s.question: " ".join([s.answer, *s.items]) for s in verdict(compute_findings(results))}


def test_the_declared_contrast_comes_first() -> None:
    statements = verdict(compute_findings(simulated()))
    assert statements[0].question == "The declared contrast"
    assert statements[0].answer.startswith("DE against uniform over ta8+ta6+ta4: ")


def test_a_large_effect_is_shown() -> None:
    answers = said(simulated(num_seeds=6, effects={"de": 0.03}))
    assert "6 seeds, for these assistants: a difference is shown, better" in answers["The declared contrast"]
    assert "would be needed" not in answers["The declared contrast"]
    assert "a difference is shown, better" in answers["DE against random weights"]


def test_a_harmful_effect_is_shown_as_such() -> None:
    answers = said(simulated(num_seeds=6, effects={"de": -0.03}))
    assert "a difference is shown, worse" in answers["The declared contrast"]


def test_noise_is_not_shown_and_the_seeds_it_would_take_are_named() -> None:
    answers = said(simulated(num_seeds=3, seed=4))
    assert "no difference shown; about " in answers["The declared contrast"]
    assert "seeds would be needed to tell one of this size" in answers["The declared contrast"]
    assert "3 seeds prove little" in answers["How sure"]
    assert "these networks only" in answers["How sure"]


def test_one_seed_proves_nothing() -> None:
    answers = said(simulated(num_seeds=1))
    assert "one seed gives no interval, so nothing can be told" in answers["The declared contrast"]
    assert "One seed proves nothing" in answers["How sure"]
    assert "a difference is shown" not in " ".join(answers.values())


def test_replicates_widen_what_may_be_said() -> None:
    answers = said(simulated(replicates=5, num_seeds=2, effects={"de": 0.03}))
    assert "5 replicates: a difference is shown" in answers["The declared contrast"]
    assert "these assistants" not in answers["The declared contrast"]
    assert "these networks only" not in answers["How sure"]


def test_one_assistant_has_no_strategies_to_speak_of() -> None:
    answers = said(simulated(pool=("ta6",)))
    assert "one assistant leaves nothing to weigh" in answers["The declared contrast"]
    assert "How many assistants are enough" not in answers
    assert "Which assistant carries the mixture" not in answers
    assert "single ta6" in answers["Against the controls"]


def test_more_assistants_help_where_they_do() -> None:
    helped = said(simulated(num_seeds=5, count_effect=0.02))["How many assistants are enough"]
    assert helped.startswith("The step to 3 is shown to help")
    useless = said(simulated(num_seeds=3, seed=4))["How many assistants are enough"]
    assert "does not show that there is none" in useless


def test_a_step_that_helped_only_at_first() -> None:
    results = simulated(num_seeds=6, noise=0.001)
    trials = results.trials.copy()
    trials.loc[trials["num_assistants"] > 1, "student_test_accuracy"] += 0.03
    answer = said(replaced(results, trials))["How many assistants are enough"]
    assert answer.startswith("No gain is shown beyond 2 assistants")


def test_all_students_of_a_strategy_failed() -> None:
    results = simulated()
    errors = np.where(results.trials["strategy"] == "de", "loss is NaN at epoch 2", None)
    answers = said(replaced(results, results.trials.assign(error=errors)))
    assert "not compared, for no seed has a finished student of both" in answers["The declared contrast"]
    assert "12 students: loss is NaN at epoch 2" in answers["What failed"]


def test_everything_failed() -> None:
    results = simulated()
    answers = said(replaced(results, results.trials.assign(error="boom")))
    assert answers["The winner and its cost"] == "No student was finished, so there is no winner."


def test_identical_differences_at_every_seed_prove_nothing() -> None:
    results = simulated(num_seeds=3, noise=0.0, effects={"de": 0.01})
    assert "nothing can be told" in said(results)["The declared contrast"]


def test_a_relation_of_proxy_and_product_is_said() -> None:
    results = simulated()
    trials = results.trials.assign(ensemble_choose_accuracy=results.trials["student_test_accuracy"])
    answers = said(replaced(results, trials))["Did a better ensemble teach better"]
    assert "accuracy, all (27 recipes): rho +1.00, p<0.001: yes" in answers
    trials = results.trials.assign(ensemble_choose_accuracy=-results.trials["student_test_accuracy"])
    answers = said(replaced(results, trials))["Did a better ensemble teach better"]
    assert "the better ensembles taught worse" in answers


@pytest.mark.parametrize(
    ("gain", "error", "words"),
    [
        (0.0, 0.0, "the same as even weights"),
        (0.01, 0.006, "within its error"),
        (-0.01, 0.006, "within its error"),
        (0.02, 0.006, "a real gain"),
        (-0.02, 0.006, "a real loss"),
    ],
)
def test_honest_gain(gain: float, error: float, words: str) -> None:
    assert words in gain_text(gain, error)


def test_the_winner_and_what_it_costs() -> None:
    points = [point(temperature=2.0), point(temperature=4.0)]
    results = simulated(points=points, point_effects={points[1]: 0.05}, effects={"de": 0.05})
    answer = said(results)["The winner and its cost"]
    assert answer.startswith("DE ")
    assert "at temperature 4" in answer
    assert "13.1 k parameters, 1.50 M MACs, 52.3 kB, 0.41 ms an image" in answer


def test_what_the_study_took_stands_beside_what_the_usual_loop_would_take() -> None:
    results = simulated()
    answer = said(results)["What the study took"]
    assert "looked at 720,000 images, once" in answer
    assert "would have shown them 96,000,000 for the same students" in answer
    num_students = results.trials["student_key"].nunique()
    assert "In core-seconds: networks " in answer
    assert f"{num_students} students 9,000." in answer
    assert "GPU" not in answer


def test_gpu_seconds_stand_beside_core_seconds_where_a_placement_has_gpus() -> None:
    results = simulated()
    on_gpus = replace(results.spending, network_gpu_seconds=5_400.0, student_gpu_seconds=0.0)
    answer = said(Results(**{**results.__dict__, "spending": on_gpus}))["What the study took"]
    num_students = results.trials["student_key"].nunique()
    assert f"In core-seconds: networks 5,400, searches 12, {num_students} students 9,000." in answer
    assert f"In GPU-seconds: networks 5,400, {num_students} students 0." in answer
