import numpy as np
import pytest

from tests.unit.weights.made_scores import make_probabilities, make_scores
from wetakd.common.errors import UserError
from wetakd.weights import Problem, solve_problem


def with_value(array, index, value):
    array = array.copy()
    array[index] = value
    return array


LOGITS, LABELS = make_scores()
PROBABILITIES, _ = make_probabilities()


@pytest.mark.parametrize(
    ("scores", "labels", "settings", "words"),
    [
        (with_value(LOGITS, (1, 2, 3), np.nan), LABELS, {}, "network 1, sample 2, class 3"),
        (with_value(LOGITS, (1, 2, 3), -np.inf), LABELS, {}, "must be finite"),
        (LOGITS * 1e200, LABELS, {"mixture": "logits"}, "at most 1e+30 times the temperature"),
        (LOGITS, LABELS, {"temperature": 1e-308}, "at most 1e+30 times the temperature"),
        (LOGITS, with_value(LABELS, 7, 5), {}, "5 at sample 7"),
        (LOGITS, with_value(LABELS, 7, -1), {}, "-1 at sample 7"),
        (LOGITS, LABELS.astype(float), {}, "not integers"),
        (LOGITS, LABELS[:-1], {}, "shape (199,)"),
        (LOGITS[0], LABELS, {}, "(networks, samples, classes)"),
        (LOGITS.astype(str), LABELS, {}, "not numbers"),
        (LOGITS[:0], LABELS, {}, "at least one network"),
        (LOGITS[:, :0], LABELS[:0], {}, "one sample"),
        (LOGITS[..., :1], LABELS * 0, {}, "two classes"),
        (np.repeat(LOGITS, 22, axis=0), LABELS, {}, "66 networks"),
        (LOGITS, LABELS, {"scores_are": "votes"}, "'votes'"),
        (LOGITS, LABELS, {"mixture": "votes"}, "'votes'"),
        (LOGITS, LABELS, {"temperature": 0.0}, "temperature"),
        (LOGITS, LABELS, {"temperature": np.nan}, "temperature"),
        (LOGITS, LABELS, {"scores_are": "probabilities"}, "are these logits?"),
        (PROBABILITIES * 0.5, LABELS, {"scores_are": "probabilities"}, "sum to 0.5"),
        (PROBABILITIES, LABELS, {"scores_are": "probabilities", "mixture": "logits"}, "need scores_are='logits'"),
        (PROBABILITIES, LABELS, {"scores_are": "probabilities", "temperature": 2.0}, "need scores_are='logits'"),
    ],
)
def test_a_users_mistake_is_one_line_that_names_it(scores, labels, settings, words):
    with pytest.raises(UserError) as caught:
        Problem(scores, labels, **{"scores_are": "logits", **settings})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mixture", ["probabilities", "logits"])
def test_half_precision_memory_maps_are_read_and_never_written(tmp_path, mixture):
    np.save(tmp_path / "scores.npy", LOGITS.astype(np.float16))
    mapped = np.load(tmp_path / "scores.npy", mmap_mode="r")
    before = (tmp_path / "scores.npy").read_bytes()
    from_map = solve_problem(Problem(mapped, LABELS, scores_are="logits", mixture=mixture), "greedy")
    exact = LOGITS.astype(np.float16).astype(np.float64)
    from_array = solve_problem(Problem(exact, LABELS, scores_are="logits", mixture=mixture), "greedy")
    assert from_map.to_dict() | {"seconds": 0} == from_array.to_dict() | {"seconds": 0}
    assert (tmp_path / "scores.npy").read_bytes() == before


def test_chunks_do_not_change_the_answer(monkeypatch):
    whole = Problem(LOGITS, LABELS, scores_are="logits")
    monkeypatch.setattr("wetakd.weights.network_scores.CHUNK_ELEMENTS", 100)
    parts = Problem(LOGITS, LABELS, scores_are="logits")
    weights_MK = np.random.default_rng(0).uniform(size=(20, 3))
    assert np.array_equal(whole.accuracy_rows.count_wrong(weights_MK), parts.accuracy_rows.count_wrong(weights_MK))
    assert np.array_equal(whole.log_loss.true_KN, parts.log_loss.true_KN)


def test_identical_networks_are_warned_of():
    result = solve_problem(Problem(LOGITS[[0, 1, 0, 2, 0]], LABELS, scores_are="logits"), "uniform")
    assert result.warnings == ("networks 0 and 2 are identical", "networks 0 and 4 are identical")
