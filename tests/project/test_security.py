"""Nobody let in: nothing read from storage is executed, no credential is shown, no name leaves its folder."""

from __future__ import annotations

import ast
import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import wetakd
from tests.bad_input.study_files import BASE
from tests.bad_input.wrong_input import WrongInput, attempt, call
from tests.unit import simulated_results, tiny
from tests.unit.stages.made_jobs import make_job
from wetakd.commands import main
from wetakd.common.canonical_json import dump_with_digest, key_of
from wetakd.common.errors import UserError
from wetakd.config.study_file import config_from_tree, load_study_file
from wetakd.config.study_record import ENVIRONMENT, dump_record
from wetakd.logits import logit_cache
from wetakd.logits.array_files import read_labels, read_scores
from wetakd.plan import orphans, stored_studies
from wetakd.plan.resolved_precision import read_precisions
from wetakd.results import stored_results
from wetakd.stages import training_run
from wetakd.storage.addresses import RESULT_FOLDERS, logit_cache_address
from wetakd.storage.atomic_store import DamagedBlob, Store
from wetakd.storage.format_number import check_format, write_format
from wetakd.storage.lease import Lease
from wetakd.storage.manifest import check_relative_path
from wetakd.storage.stopped_students import read_stopped_epochs, write_stopped_epochs
from wetakd.storage.stored_checkpoints import StoredCheckpoints
from wetakd.tracking.event_journal import EventJournal
from wetakd.tracking.session_record import recorded_session
from wetakd.training.train_state import TrainState

ADDRESS = "networks/first"
CACHE = {"kind": "cache", "network": "first"}
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (os.environ["WETAKD_TEST_BOMB"],)


@pytest.fixture
def bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A pickle that makes a folder when it is loaded."""
    monkeypatch.setenv("WETAKD_TEST_BOMB", str(tmp_path / "exploded"))
    return pickle.dumps(_Bomb())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A storage with something of every kind that is ever read back."""
    store = Store(str(tmp_path / "runs"))
    list(training_run.run_job(make_job(tmp_path / "runs"), tiny.dataset()))
    logit_cache.write_cache(store, CACHE, logit_cache.compute_logits(tiny.network(), tiny.dataset(), tiny.CLEAN))
    StoredCheckpoints.at(store, "students/half").save(b"state")
    store.commit("searches/s", {}, {"weights": [1.0]})
    store.commit("evaluations/e", {"correct.bits": b"\1"}, {})
    write_format(store)
    write_stopped_epochs(store, "s", "half", [])
    with recorded_session(store, "s"):
        pass
    journal = EventJournal(store, "s")
    journal.append("open", "study", {"name": "s", "blob": journal.put_blob(b"file")})
    journal.acknowledge("mlflow", 1)
    journal.close()
    for name in ("study.json", "addresses.json", "precision.json", "summary.json", "lease.json", "report.txt"):
        store.write(f"studies/s/{name}", b"{}")
    for name in ("trials", "networks", "curves", "contributions"):
        store.write(f"studies/s/{name}.parquet", b"PAR1")
    return store


def _read_everything(store: Store) -> None:
    """Every way in which wetakd reads what lies on storage."""
    folder = str(store.local_path)

    def finished(address: str) -> None:
        manifest = store.find(address)
        for blob in manifest.blobs if manifest else ():
            store.read(manifest, blob)  # type: ignore[arg-type]

    def weights() -> None:
        manifest = store.find(ADDRESS)
        if manifest:
            training_run.load_model(store, manifest, tiny.PLAIN_2, tiny.dataset())

    def blobs() -> None:
        journal = EventJournal(store, "s")
        with contextlib.closing(journal):
            for event in journal.read():
                journal.blob(event.data["blob"])

    readers = [
        *(lambda address=address: finished(address) for address in ("searches/s", "evaluations/e")),
        weights,
        blobs,
        lambda: logit_cache.read_cache(store, key_of(CACHE)),
        lambda: StoredCheckpoints.at(store, "students/half").load(),
        lambda: stored_results.Results.read(store, "s"),
        lambda: stored_studies.find_studies(store),
        lambda: stored_studies.read_study_config(store, "s"),
        lambda: check_format(store),
        lambda: read_stopped_epochs(store, "s", "half"),
        lambda: read_precisions(store, load_study_file(None, ["study.name=s", "teacher.recipe.precision=auto"])),
        lambda: list(orphans.find_orphans(store)),
        lambda: Lease(store, "studies/s/lease.json").__enter__().__exit__(None, None, None),
        lambda: call("report", "s", "--storage", folder),
        lambda: call("sync", "s", "--storage", folder),
        lambda: call("ls", "--storage", folder),
    ]
    for read in readers:
        with contextlib.suppress(UserError, DamagedBlob, ValueError, KeyError, TypeError, OSError, pa.ArrowException):
            read()


def test_a_pickle_planted_at_any_path_is_never_loaded(store: Store, bomb: bytes, tmp_path: Path) -> None:
    paths = store.list()
    assert {path.split("/")[0] for path in paths} == {*RESULT_FOLDERS, "studies", "format.json"}
    assert len(paths) >= 20
    whole = {path: store.read_file(path) for path in paths}
    for path in paths:
        store.write(path, bomb)
        _read_everything(store)
        assert not (tmp_path / "exploded").exists(), path
        for other, content in whole.items():
            store.write(other, content or b"")
    # The bomb is a bomb.
    pickle.loads(bomb)
    assert (tmp_path / "exploded").exists()


def test_a_pickle_with_a_valid_manifest_is_not_loaded_either(store: Store, bomb: bytes, tmp_path: Path) -> None:
    for name, address in (("weights.safetensors", ADDRESS), ("logits.arrow", logit_cache_address(key_of(CACHE)))):
        store.delete(address)
        manifest = store.commit(address, {name: bomb}, {"epochs": []})
        assert store.read(manifest, name).to_pybytes() == bomb
    StoredCheckpoints.at(store, "students/half").save(bomb)
    _read_everything(store)
    model = tiny.network()
    train_state = TrainState(model, _sgd(model), _scaler())
    with pytest.raises(Exception, match=r"[Hh]eader|safetensor"):
        train_state.restore(StoredCheckpoints.at(store, "students/half").load() or b"")
    assert not (tmp_path / "exploded").exists()


def _sgd(model: Any) -> Any:
    import torch

    return torch.optim.SGD(model.parameters(), lr=0.1)


def _scaler() -> Any:
    import torch

    return torch.amp.GradScaler("cpu", enabled=False)


def test_an_arrow_table_cannot_smuggle_a_pickled_type_in(store: Store, bomb: bytes, tmp_path: Path) -> None:
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": bomb}
    field = pa.field("logits", pa.binary(), metadata=metadata)
    store.delete(logit_cache_address(key_of(CACHE)))
    logit_cache.write_cache(store, CACHE, pa.table([pa.array([b"x"])], schema=pa.schema([field])))
    _read_everything(store)
    assert not (tmp_path / "exploded").exists()


def test_a_recorded_study_file_makes_no_objects(store: Store, tmp_path: Path) -> None:
    touch = f"study: !!python/object/apply:os.mkdir ['{tmp_path}/exploded']"
    store.write("studies/s/study.json", touch.encode())
    _read_everything(store)
    assert not (tmp_path / "exploded").exists()
    store.write("studies/s/study.json", dump_with_digest({"study": touch}))
    _read_everything(store)
    assert not (tmp_path / "exploded").exists()


def test_data_that_comes_as_pickles_is_checked_against_its_digest_first(bomb: bytes, tmp_path: Path) -> None:
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]
    files = {f"data/cifar-10-batches-py/{name}": bomb for name in names}
    files["study.yaml"] = yaml.safe_dump(BASE | {"data": {"source": "cifar10"}}).encode()
    outcome = attempt(WrongInput("security", "cifar", ("run", "study.yaml", "--quiet"), files))
    assert outcome.fault is None
    assert "data.root" in outcome.err
    assert not (tmp_path / "exploded").exists()


def test_files_of_scores_are_not_unpickled(bomb: bytes, tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([_Bomb()], dtype=object), allow_pickle=True)
    (tmp_path / "bare.npy").write_bytes(bomb)
    for name in ("objects.npy", "bare.npy"):
        for read in (read_scores, read_labels):
            with pytest.raises(UserError):
                read(str(tmp_path / name))
    assert not (tmp_path / "exploded").exists()


_DANGEROUS = {"eval", "exec", "pickle.load", "pickle.loads", "cloudpickle.loads", "os.system", "yaml.unsafe_load"}


def test_the_source_calls_nothing_that_executes_what_it_reads() -> None:
    found = []
    for file in Path(wetakd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name, text = ast.unparse(node.func), ast.unparse(node)
                loads = name in ("torch.load", "np.load", "yaml.load")
                safe = any(word in text for word in ("weights_only=True", "allow_pickle=False", "_Loader"))
                if name in _DANGEROUS or "shell=True" in text or (loads and not safe):
                    found.append(f"{file.name}: {text}")
    assert not found


# ------------------------------------------------------------------------------------------------- credentials


_WITH_CREDENTIALS = pytest.mark.parametrize(
    ("field", "uri"),
    [
        ("storage", f"s3://AKIASECRET:{SECRET}@/nowhere"),
        ("storage", f"nothing://user:{SECRET}@host/x?password={SECRET}"),
        ("storage", f"gs://bucket:{SECRET}@"),
        ("mlflow.tracking_uri", f"http://AKIASECRET:{SECRET}@127.0.0.1:9"),
        ("mlflow.tracking_uri", f"postgresql://AKIASECRET:{SECRET}@127.0.0.1:9/db"),
        ("mlflow.tracking_uri", f"mysql://host:9/db?password={SECRET}"),
        ("mlflow.tracking_uri", f"ftp://AKIASECRET:{SECRET}@host"),
        ("data.train", f"http://AKIASECRET:{SECRET}@host/a.parquet"),
        ("data.train", f"nothing://host/a.parquet?sig={SECRET}"),
        ("data.train", f"s3://AKIASECRET:{SECRET}@/"),
    ],
)


@_WITH_CREDENTIALS
def test_credentials_in_a_study_file_are_refused_and_not_shown(field: str, uri: str) -> None:
    tree = BASE | {"data": {"source": "parquet", "train": "nowhere.parquet"}, "mlflow": {"enabled": True}}
    block, _, name = field.partition(".")
    in_file = tree | {block: {**tree.get(block, {}), name: uri} if name else uri}
    for written, more in ((tree, ("--set", f"{field}={uri}")), (in_file, ())):
        words = ("run", "study.yaml", "--quiet", *more)
        outcome = attempt(WrongInput("security", field, words, {"study.yaml": yaml.safe_dump(written).encode()}))
        assert outcome.fault is None
        assert outcome.err.startswith(f"wetakd: {field}: has credentials in it, which would be recorded; ")
        _assert_hidden(outcome.err)


_IN_ENVIRONMENT = [mark for mark in _WITH_CREDENTIALS.args[1] if mark[0] in ENVIRONMENT]


@pytest.mark.parametrize(("field", "uri"), _IN_ENVIRONMENT)
def test_an_error_names_the_uri_of_the_environment_without_its_credentials(
    field: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT[field], uri)
    study = yaml.safe_dump(BASE | {"mlflow": {"enabled": True}}).encode()
    outcome = attempt(WrongInput("security", field, ("run", "study.yaml", "--quiet"), {"study.yaml": study}))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"wetakd: {field.partition('.')[0]}")
    assert "has credentials in it" not in outcome.err
    _assert_hidden(outcome.err)


def test_no_file_of_a_storage_and_no_description_of_a_job_holds_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"s3://AKIASECRET:{SECRET}@bucket/x?region=us-east-1"
    # What Ray and its dashboard are told of a job is its description.
    _assert_hidden(repr(make_job(tmp_path, store_uri=uri)))
    monkeypatch.setenv("WETAKD_STORAGE", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://AKIASECRET:{SECRET}@host")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(BASE))
    config = load_study_file(tmp_path / "study.yaml")
    assert config.storage == uri
    _assert_hidden(dump_record(config).decode())


def _assert_hidden(text: str) -> None:
    for secret in (SECRET, "AKIASECRET"):
        assert secret not in text


# ------------------------------------------------------------------------------------------------------- names


@given(st.text(st.sampled_from("a./\\~\0\n:*?-é"), max_size=12))
def test_no_path_within_a_storage_can_leave_it(path: str) -> None:
    with contextlib.suppress(UserError):
        assert os.path.normpath(f"/root/{check_relative_path(path)}") == f"/root/{path}"


@pytest.mark.parametrize("command", ["report", "ui", "sync"])
@pytest.mark.parametrize("name", ["..", "../secret", "/etc", "a/../../secret", ".", "", "s\n", "*"])
def test_no_command_follows_a_name_out_of_the_storage(command: str, name: str, store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "study.yaml").write_text("study: {name: secret}")
    code, out, err = call(command, name, "--storage", str(store.local_path))
    assert (code, out) == (2, "")
    assert err.startswith("wetakd: study ")
    assert list(secret.iterdir()) == [secret / "study.yaml"]


def test_the_pages_are_served_on_loopback_alone() -> None:
    from wetakd.commands import ui

    assert ui.HOST == "127.0.0.1"
    assert main.commands.commands["ui"].params  # the port is an option, the host is not
    assert "host" not in {option.name for option in main.commands.commands["ui"].params}


def test_export_runs_no_function_that_a_forged_record_names_unless_told_to(tmp_path: Path) -> None:
    """Whoever can write to the storage can name `torch.hub:load` and a folder there, which runs its hubconf.py."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "hubconf.py").write_text(f"open({str(tmp_path / 'exploded')!r}, 'w')\n")
    options = {"repo_or_dir": str(tmp_path / "hub"), "model": "any", "source": "local", "trust_repo": True}
    found, store = simulated_results.simulated(), Store(str(tmp_path / "runs"))
    named = {
        "study": {"name": found.study},
        "data": {"source": "callable", "callable": "torch.hub:load", "options": options},
    }
    write_format(store)
    store.write(f"studies/{found.study}/study.json", dump_record(config_from_tree(BASE | named)))
    found.write(store)
    words = ("export", found.study, "--storage", store.uri, "--to", str(tmp_path / "to"))
    code, _, complaint = call(*words)
    assert (code, complaint.count("\n"), (tmp_path / "exploded").exists()) == (2, 1, False)
    assert "data.callable: 'torch.hub:load' is code" in complaint
    assert call(*words, "--trust-code")[0] == 2  # such images it cannot be
    assert (tmp_path / "exploded").exists()
