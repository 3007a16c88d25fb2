import contextlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from wetakd.commands.main import commands
from wetakd.commands.weights import search_files, weights_json, weights_table
from wetakd.common.errors import UserError
from wetakd.logits.array_files import read_labels, read_scores
from wetakd.weights import STRATEGIES, SearchResult

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(5, size=60)
SCORES = GENERATOR.normal(size=(3, 60, 5)) + 2 * np.eye(5)[LABELS]
NAMES = ["small", "middle", "large"]


def save(folder, kind):
    scores, labels = folder / f"scores.{kind}", folder / f"labels.{kind}"
    if kind == "npy":
        np.save(scores, SCORES)
        np.save(labels, LABELS)
    elif kind == "npz":
        np.savez_compressed(scores, **dict(zip(NAMES, SCORES, strict=True)))
        np.savez(labels, label=LABELS)
    else:
        columns = {name: pa.array(list(array)) for name, array in zip(NAMES, SCORES, strict=True)}
        columns["large"] = pa.FixedSizeListArray.from_arrays(pa.array(SCORES[2].ravel()), 5)
        pq.write_table(pa.table({"id": list(range(60)), "label": LABELS, **columns}), scores)
        labels = scores
    return str(scores), str(labels)


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
def test_every_layout_gives_the_same_scores_and_labels(tmp_path, kind):
    scores, labels = save(tmp_path, kind)
    names, scores_KNC = read_scores(scores)
    assert names == (NAMES if kind != "npy" else ["network 0", "network 1", "network 2"])
    assert np.array_equal(scores_KNC, SCORES)
    assert np.array_equal(read_labels(labels), LABELS)


def test_table_and_json_tell_everything(tmp_path):
    results = search_files(*save(tmp_path, "npz"), scores_are="logits", strategies=list(STRATEGIES), seed=1)
    text = weights_table(results)
    assert max(map(len, text.splitlines())) <= 80
    assert all(word in text for word in [*NAMES, *STRATEGIES, "within its error", "No weights are right more often"])
    document = json.loads(weights_json(results))
    assert document["networks"] == NAMES
    restored = [SearchResult.from_dict(values) for values in document["results"]]
    assert [result.to_dict() for result in restored] == [result.to_dict() for result in results.results]


def test_a_wide_pool_still_fits_80_columns(tmp_path):
    labels_N = np.arange(50) % 4
    np.savez(tmp_path / "s.npz", **{f"a_rather_long_name_of_network_{k}": np.eye(4)[labels_N] for k in range(20)})
    np.save(tmp_path / "l.npy", labels_N)
    results = search_files(str(tmp_path / "s.npz"), str(tmp_path / "l.npy"), scores_are="probabilities", crossfit=False)
    assert max(map(len, weights_table(results).splitlines())) <= 80
    assert "not cross-fitted" in weights_table(results)
    assert "are identical" in weights_table(results)


@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
def test_a_damaged_file_is_one_line(tmp_path, kind):
    scores, _ = save(tmp_path, kind)
    whole = (tmp_path / f"scores.{kind}").read_bytes()
    generator = np.random.default_rng(0)
    damaged = [whole[:cut] for cut in (0, 1, 10, 80, len(whole) // 2, len(whole) - 1)]
    for _ in range(60):
        bent = bytearray(whole)
        for place in generator.integers(len(whole), size=8):
            bent[place] ^= int(generator.integers(1, 256))
        damaged.append(bytes(bent))
    for content in damaged:
        (tmp_path / f"scores.{kind}").write_bytes(content)
        with contextlib.suppress(UserError):  # a flipped bit inside a number goes unseen; nothing else may escape
            read_scores(scores)


def test_a_pickle_is_never_loaded(tmp_path):
    np.save(tmp_path / "scores.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="not a readable"):
        read_scores(str(tmp_path / "scores.npy"))


def test_what_does_not_fit_is_one_line(tmp_path):
    scores, labels = save(tmp_path, "npz")
    np.savez(tmp_path / "uneven.npz", a=np.zeros((2, 3)), b=np.zeros((3, 3)))
    np.savez(tmp_path / "flat.npz", a=np.zeros(3))
    np.savez(tmp_path / "empty.npz")
    pq.write_table(pa.table({"x": [1.0, 2.0]}), tmp_path / "plain.parquet")
    pq.write_table(pa.table({"a": [[1.0, 2.0], [1.0]]}), tmp_path / "ragged.parquet")
    (tmp_path / "text.npy").write_text("0.1 0.9")
    np.savez(tmp_path / "dates.npz", a=np.zeros((2, 3)), b=np.zeros((2, 3), "datetime64[s]"))
    cases = [
        (lambda: read_scores(str(tmp_path / "text.npy")), r"\(object\) data\)$"),  # no advice to load it unsafely
        (lambda: read_scores(str(tmp_path / "none.npy")), "no such file"),
        (lambda: read_scores(str(tmp_path / "scores.csv")), "none of .npy"),
        (lambda: read_scores(str(tmp_path / "uneven.npz")), "differ in shape"),
        (lambda: read_scores(str(tmp_path / "flat.npz")), "not \\(samples, classes\\)"),
        (lambda: read_scores(str(tmp_path / "empty.npz")), "no array"),
        (lambda: read_scores(str(tmp_path / "dates.npz")), "b holds datetime64"),
        (lambda: read_scores(str(tmp_path / "plain.parquet")), "no column of lists"),
        (lambda: read_scores(str(tmp_path / "ragged.parquet")), "same length"),
        (lambda: read_labels(str(tmp_path / "plain.parquet")), "no column 'label'"),
        (lambda: read_labels(scores), "labels need one array"),
        (lambda: search_files(scores, labels, scores_are="logits", strategies=["oracle"]), "'oracle'"),
        (lambda: search_files(scores, labels, scores_are="probabilities"), "are these logits"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_command_takes_temperature_and_mixture_and_shows_what_is_certified(tmp_path):
    files = save(tmp_path, "npz")
    options = ["--scores-are", "logits", "--strategy", "convex", "--mixture", "logits", "--temperature", "2"]
    told = CliRunner().invoke(commands, ["weights", *files, *options])
    assert "No weights have an nll lower than that of convex by more than" in told.stdout
    document = json.loads(CliRunner().invoke(commands, ["weights", *files, *options, "--json"]).stdout)
    [expected] = search_files(
        *files, scores_are="logits", strategies=["convex"], mixture="logits", temperature=2
    ).results
    assert document["results"][0] | {"seconds": 0} == expected.to_dict() | {"seconds": 0}
    assert expected.gap <= 1e-8
