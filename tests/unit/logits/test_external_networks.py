"""Networks from elsewhere: their weights or logits go in as they are, and whatever does not fit is said in one line."""

import contextlib
import io
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.unit import tiny
from tests.unit.plan.planned_results import float32, invented_keys
from wetakd.common.errors import UserError
from wetakd.config import NetworkConfig, StudyConfig
from wetakd.config.study_file import config_from_tree
from wetakd.config.study_record import recorded_tree
from wetakd.logits import external_networks, logit_cache
from wetakd.models.registry import build_model
from wetakd.plan.study_plan import Plan
from wetakd.stages import training_run
from wetakd.storage.atomic_store import Store
from wetakd.training.losses import check_own_loss, kd
from wetakd.training.objective import Targets

DATA = tiny.dataset()
NUM = len(DATA.labels_N)
MODEL = {"name": "plain", "options": {"depth": 2}}
NET = {"model": MODEL}


def study(**blocks: Any) -> StudyConfig:
    tree = {
        "study": {"name": "tiny", "seeds": 1, "strategies": ["uniform"]},
        "data": {"source": "digits"},
        "teacher": NET,
        "assistants": {"first": NET, "second": NET},
        "student": NET,
    }
    return config_from_tree(tree | blocks)


def from_checkpoint(path: Path) -> NetworkConfig:
    return NetworkConfig.model_validate({"model": MODEL, "checkpoint": str(path), "trained_on": "other"})


def from_logits(path: Path) -> NetworkConfig:
    return NetworkConfig.model_validate({"logits": str(path), "trained_on": "other"})


def trained() -> nn.Module:
    return tiny.run(tiny.network(seed=5))[0]


@pytest.mark.parametrize("kind", ["safetensors", "state_dict", "nested", "of DistributedDataParallel"])
def test_a_checkpoint_is_committed_with_its_very_weights(kind: str, tmp_path: Path) -> None:
    model, path = trained(), tmp_path / "teacher.weights"
    state = model.state_dict()
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "of DistributedDataParallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        torch.save(state if kind == "state_dict" else {"epoch": 3, "state_dict": state}, path)
    store = Store(str(tmp_path / "runs"))
    external_networks.commit_external(store, "networks/one", {"kind": "import"}, from_checkpoint(path), DATA, "teacher")
    manifest = store.find_intact("networks/one")
    assert manifest is not None
    assert manifest.facts["epochs"] == []
    assert manifest.payload == {"kind": "import"}
    found = training_run.load_model(store, manifest, tiny.PLAIN_2, DATA).state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


class Trap:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Trap()}, "trap.pt")
    Path("trap.pkl").write_bytes(pickle.dumps(Trap()))
    for name in ("trap.pt", "trap.pkl"):
        with pytest.raises(UserError, match=r"^teacher\.checkpoint: .* is neither safetensors nor a state_dict"):
            external_networks.check_external(from_checkpoint(Path(name)), DATA, 1, "teacher")
    assert not Path("sprung").exists()


def test_a_checkpoint_that_does_not_fit_is_told_in_one_line(tmp_path: Path) -> None:
    wide = build_model(tiny.PLAIN_2, tiny.SHAPE, 7, 0)
    torch.save(wide.state_dict(), tmp_path / "wide.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, says in (
        ("wide.pt", "another network: .*size mismatch"),
        ("list.pt", "no state_dict"),
        ("no.pt", "No such"),
    ):
        with pytest.raises(UserError, match=rf"^assistants\.first\.checkpoint: '.*{name}' .*{says}") as told:
            external_networks.check_external(from_checkpoint(tmp_path / name), DATA, 1, "first")
        assert "\n" not in str(told.value)


def logits(num_views: int = 1) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (num_views, NUM, tiny.NUM_CLASSES)).astype(np.float32)


def write_logits(kind: str, path: Path, values_VNC: np.ndarray) -> Path:
    order = np.random.default_rng(1).permutation(NUM)
    num_views = len(values_VNC)
    if kind == "npy":
        np.save(path / "it.npy", values_VNC if num_views > 1 else values_VNC[0])
    elif kind == "npz":
        np.savez(path / "it.npz", logits=values_VNC[:, order], sample_id=order)
    else:
        rows = [(i, v) for v in range(num_views) for i in order]
        columns: dict[str, Any] = {
            "sample_id": [i for i, _ in rows],
            "logits": [values_VNC[v, i].tolist() for i, v in rows],
        }
        columns |= {"view": [v for _, v in rows]} if num_views > 1 else {}
        pq.write_table(pa.table(columns), path / "it.parquet")
    return path / f"it.{kind}"


@pytest.mark.parametrize("num_views", [1, 3])
@pytest.mark.parametrize("kind", ["npy", "npz", "parquet"])
def test_logits_are_found_by_sample_id_and_view_whatever_their_order(kind: str, num_views: int, tmp_path: Path) -> None:
    given = logits(num_views)
    network = from_logits(write_logits(kind, tmp_path, given))
    found = logit_cache.logits_of_table(external_networks.logits_table(network, DATA, num_views, "teacher"))
    half = given.astype(np.float16)
    np.testing.assert_array_equal(found.fit_VNC, half[:, DATA.splits.fit])
    for split in ("weigh", "choose", "test"):
        np.testing.assert_array_equal(getattr(found, f"{split}_NC"), half[0, getattr(DATA.splits, split)])


@pytest.mark.parametrize(
    ("values", "num_views", "says"),
    [
        (logits()[:, :-1], 1, rf"no logits of sample {NUM - 1} in view 0"),
        (logits(), 2, r"in view 1; set views\.num: 1"),
        (logits()[:, :, :2], 1, "3 a sample are needed"),
        (np.full_like(logits(), np.nan), 1, "not finite"),
        (logits()[0, 0], 1, "samples x classes"),
        (np.concatenate([logits(), logits()], axis=1), 1, f"sample ids from 0 to {2 * NUM - 1}"),
    ],
)
def test_logits_that_do_not_fit_are_told_in_one_line(
    values: np.ndarray, num_views: int, says: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "it.npy", values)
    with pytest.raises(UserError, match=rf"^teacher\.logits: '.*it\.npy'.*{says}"):
        external_networks.logits_table(from_logits(tmp_path / "it.npy"), DATA, num_views, "teacher")


def test_files_that_are_no_logits_are_told_in_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "object.npy").write_bytes(stream.getvalue())
    (tmp_path / "it.csv").write_text("1,2,3")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UserError, match=r"^teacher\.logits: .*(laid out|must end in)"):
            external_networks.logits_table(from_logits(path), DATA, 1, "teacher")


def bent(whole: bytes, num: int) -> Iterator[bytes]:
    """Files cut short, and files in which one to eight bytes were changed."""
    generator = np.random.default_rng(0)
    yield from (whole[:cut] for cut in (0, 1, 10, 80, len(whole) // 2, len(whole) - 1))
    for _ in range(num):
        changed = bytearray(whole)
        for place in generator.integers(len(whole), size=generator.integers(1, 9)):
            changed[place] ^= int(generator.integers(1, 256))
        yield bytes(changed)


@pytest.mark.parametrize("kind", ["npy", "npz", "packed.npz", "parquet"])
def test_damaged_logits_are_one_line(kind: str, tmp_path: Path) -> None:
    path = write_logits(kind.rpartition(".")[2], tmp_path, logits())
    if kind.startswith("packed"):
        np.savez_compressed(path, logits=logits()[0])
    for content in bent(path.read_bytes(), 150):
        path.write_bytes(content)
        with contextlib.suppress(UserError):  # a changed number goes unseen; nothing else may escape
            external_networks.logits_table(from_logits(path), DATA, 1, "teacher")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_damaged_checkpoint_is_one_line(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "it.pt"
    torch.save(tiny.network().state_dict(), path, _use_new_zipfile_serialization=not legacy)
    for content in (b"\x80\x02.", *bent(path.read_bytes(), 100)):
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            external_networks.check_external(from_checkpoint(path), DATA, 1, "teacher")
    for other in ({0: torch.zeros(1)}, torch.zeros(3), {}):
        torch.save(other, path)
        with pytest.raises(UserError, match="holds no state_dict"):
            external_networks.check_external(from_checkpoint(path), DATA, 1, "teacher")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(UserError, match=r"^teacher\.logits: '[^']*pipe\.npy' is no file$"):
        external_networks.check_external(from_logits(tmp_path / "pipe.npy"), DATA, 1, "teacher")


def test_the_key_follows_the_content_of_the_file_and_not_its_name(tmp_path: Path) -> None:
    def key(name: str) -> str:
        teacher = {"logits": str(tmp_path / name), "trained_on": "other"}
        config = study(teacher=teacher)
        return Plan(config, DATA, float32(config)).node_of[0, "teacher"].key

    np.save(tmp_path / "a.npy", logits())
    np.save(tmp_path / "b.npy", logits())
    np.save(tmp_path / "c.npy", logits() + 1)
    assert key("a.npy") == key("b.npy") != key("c.npy")


@pytest.mark.parametrize(
    ("trained_on", "is_mixed"), [("fit", True), ("other", True), ("train", False), ("unknown", False)]
)
def test_who_may_have_seen_the_held_out_images_is_mixed_only_where_it_is_named(trained_on: str, is_mixed: bool) -> None:
    brought = {"logits": "it.npy", "trained_on": trained_on}
    assistants = {"first": NET, "brought": brought}
    assert ("brought" in study(assistants=assistants).pool) == is_mixed
    block = {"name": "tiny", "pool": ["first", "brought"]}
    assert study(assistants=assistants, study=block).pool == ("first", "brought")


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ({"checkpoint": "a.pt"}, "teacher.trained_on: is required"),
        ({"trained_on": "other"}, "teacher.trained_on: has a meaning only beside"),
        ({"checkpoint": "a.pt", "logits": "a.npy", "trained_on": "other"}, "teacher.logits: cannot stand beside"),
        ({"checkpoint": "a.pt", "trained_on": "other", "recipe": {"epochs": 3}}, "teacher.recipe: has no meaning"),
        ({"checkpoint": "a.pt", "trained_on": "other", "taught_by": ["first"]}, "teacher.taught_by: has no meaning"),
        ({"logits": "a.npy", "trained_on": "other"}, "teacher.model: has no meaning beside logits"),
    ],
)
def test_settings_that_could_do_nothing_are_refused(network: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=f"^{says}"):
        study(teacher=NET | network)


def test_the_record_of_a_study_with_networks_from_elsewhere_reads_back() -> None:
    config = study(
        teacher={"logits": "a.npy", "trained_on": "unknown"},
        assistants={"first": NET, "second": NET | {"checkpoint": "b.pt", "trained_on": "fit"}},
    )
    assert config_from_tree(recorded_tree(config)) == config
    assert config.teachers_of("second") == ()
    assert config.teachers_of("first") == ("teacher",)


def halved(student_BC: Tensor, target_BC: Tensor, labels_B: Tensor, temperature: float) -> Tensor:
    return kd(student_BC, target_BC, temperature) / 2


def wrong(student_BC: Tensor, target_BC: Tensor, labels_B: Tensor, temperature: float) -> Tensor:
    return student_BC


def torn_backward(student_BC: Tensor, target_BC: Tensor, labels_B: Tensor, temperature: float) -> Tensor:
    probabilities_BC = torch.sigmoid(student_BC)
    probabilities_BC += 1
    return probabilities_BC.sum()


def test_a_loss_of_ones_own_is_what_is_minimised() -> None:
    data, logits_VNC = tiny.dataset(), tiny.made_logits(tiny.dataset())
    targets = Targets((logits_VNC,), (1.0,))

    def losses(**block: Any) -> list[float]:
        config = tiny.KD.model_copy(update=block)
        _, epochs = tiny.run(data=data, distillation=config, targets=targets)
        return [epoch.loss for epoch in epochs]

    mine = losses(loss=f"{__name__}:halved", alpha=1.0, ce_weight=0.5)
    assert mine == pytest.approx(losses(alpha=0.5, ce_weight=0.5), rel=1e-5)
    assert mine != pytest.approx(losses(alpha=1.0, ce_weight=0.5), rel=1e-2)


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ("nowhere:it", "no module"),
        (f"{__name__}:wrong", r"returned \[4, 3\]"),
        (f"{__name__}:torn_backward", "raised RuntimeError"),
        (f"{__name__}:DATA", "not a function"),
    ],
)
def test_a_loss_that_is_none_is_told_in_one_line(loss: str, says: str) -> None:
    config = tiny.KD.model_copy(update={"loss": loss})
    with pytest.raises(UserError, match=rf"^student\.distillation\.loss: .*{says}"):
        check_own_loss(config, 3, field="student.distillation")
    check_own_loss(tiny.KD, 3, field="student.distillation")


def test_a_loss_of_ones_own_stands_in_the_key_with_its_source() -> None:
    def student_key(loss: str) -> str:
        config = study(student=NET | {"distillation": {"loss": loss}})
        plan = Plan(config, DATA, float32(config))
        trial = next(trial for trial in plan.trials if trial.arm.strategy == "teacher")
        return invented_keys(plan).student(trial, (1.0,)).key

    keys = {student_key(loss) for loss in ("kd", "dist", f"{__name__}:halved", f"{__name__}:wrong")}
    assert len(keys) == 4
    with pytest.raises(UserError, match=r"student\.distillation\.loss: 'kdd' must be one of kd, dkd, dist, or package"):
        study(student=NET | {"distillation": {"loss": "kdd"}})
