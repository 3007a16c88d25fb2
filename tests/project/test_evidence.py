"""The evidence on a bare machine: nothing but the packages that it names, stopped and gone on with, and honest keys."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks import evidence
from tests.evidence_command import command, write_images
from tests.unit.plan.planned_results import float32
from wetakd.common.errors import UserError
from wetakd.logits import logit_cache
from wetakd.plan.key_payloads import cache_payload
from wetakd.plan.study_plan import Plan
from wetakd.storage.addresses import network_address
from wetakd.storage.atomic_store import Store

SCRIPT = Path(evidence.__file__)
NEEDS = ("torch", "numpy", "scipy", "pyarrow", "pillow", "pydantic", "pyyaml", "safetensors")
BARE = """
import os, sys
from importlib.machinery import PathFinder

with open({log!r}, "a") as log:
    log.write(" ".join(sys.orig_argv) + "\\n")


class Bare:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "wetakd" and path is None:
            path = [folder for folder in sys.path if "site-packages" not in folder]
        return None if top in {blocked!r} else PathFinder.find_spec(name, path, target)


installed = [f for f in sys.meta_path if f is PathFinder or getattr(f, "__module__", "").startswith("__editable__")]
sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in installed] + [Bare]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data"))


def closure(names):
    """Canonical names of distributions and of what they need."""
    found, waiting = set(), list(names)
    while waiting:
        if (name := canonicalize_name(waiting.pop())) in found:
            continue
        found.add(name)
        needed = [Requirement(text) for text in distribution(name).requires or ()]
        waiting += [need.name for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def on_a_bare_machine(tmp_path, arguments, without=()):
    """The command where nothing but what it needs can be imported, also in the processes that it starts."""
    here = closure(NEEDS)
    tops = packages_distributions().items()
    blocked = {top for top, given in tops if not here & {canonicalize_name(name) for name in given}} - {"wetakd"}
    site, log = tmp_path / "site", tmp_path / "started"
    site.mkdir()
    assert blocked >= {"ray", "mlflow", "pandas", "psutil", "torchvision", "sklearn", "matplotlib"}
    (site / "sitecustomize.py").write_text(BARE.format(log=str(log), blocked=blocked | set(without)))
    environment = os.environ | {"PYTHONPATH": str(site), "CUDA_VISIBLE_DEVICES": ""}
    told = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    return told, log.read_text()


def test_it_runs_to_its_table_on_a_bare_machine(data, tmp_path):
    told, started = on_a_bare_machine(tmp_path, command(data, tmp_path / "out"))
    assert told.returncode == 0, told.stderr[-3000:]
    assert "spawn_main" in started, "the processes that train were bare, too"
    rows = [line.split("|")[1].strip() for line in told.stdout.splitlines() if line.startswith("|")]
    assert sorted(rows[2:]) == ["de ta8+ta6+ta4", "none", "uniform ta8+ta6+ta4"]
    assert "Not finished" not in told.stdout
    assert not list((tmp_path / "out").rglob("*.pickle"))


def test_one_line_names_all_that_is_missing(tmp_path):
    told, _ = on_a_bare_machine(tmp_path, ["data", "out"], without={"yaml", "safetensors"})
    assert told.returncode == 1
    assert told.stderr == "benchmarks/evidence.py: not installed here: pyyaml, safetensors\n"
    for package in NEEDS:
        assert package in evidence.__doc__.partition("and what these need")[0]


# ---------------------------------------------------------------------------------------------------- in this process


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    """Run a command in this process; returns why it stopped."""
    monkeypatch.setattr(evidence, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))

    def run(*more):
        monkeypatch.setattr(sys, "argv", ["evidence.py", *command(data, tmp_path / "out", *more)])
        return evidence.run(evidence.parse())

    return run


def test_a_command_out_of_time_prints_what_is_finished_and_goes_on(run, tmp_path, capsys):
    assert run("--minutes=0") == "stopped after 0 of 1 networks; the same command goes on"
    assert "No table yet, not finished: teacher" in capsys.readouterr().out
    assert run() is None
    whole = capsys.readouterr().out
    assert "minutes in 2 runs; " in whole
    # The networks and the first two seeds are there.
    assert run("--minutes=0", "--set=study.seeds=3").startswith("stopped after 6 of 9 students")
    part = capsys.readouterr().out
    assert "Not finished: none (2 of 3 seeds), uniform ta8+ta6+ta4 (2 of 3 seeds), de" in part
    assert [line for line in part.splitlines() if line[0:1] == "|"] == [
        line for line in whole.splitlines() if line[0:1] == "|"
    ]
    for file in (tmp_path / "out").glob("minutes-*.json"):
        file.write_text("[10.0, 20.0]")
    run()
    assert "; 30 minutes in 3 runs; " in capsys.readouterr().out


def test_main_ends_with_one_when_late_and_two_for_a_mistake(run, data, tmp_path, monkeypatch, capsys):
    for more, code in (("--minutes=0", "stopped after 0 of 1 networks; the same command goes on"), ("--set=x=1", 2)):
        monkeypatch.setattr(sys, "argv", ["evidence.py", *command(data, tmp_path / "out", more)])
        with pytest.raises(SystemExit) as ended:
            evidence.main()
        assert ended.value.code == code  # a text is printed, and counts as 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("x: is not a known field")


def plans_with_logit_caches(data, out, monkeypatch, *more):
    """What `--ablation` is about, every network's logit cache made up."""
    monkeypatch.setattr(sys, "argv", ["evidence.py", *command(data, out, *more)])
    config, store = evidence.study_of(evidence.parse()), Store(str(out))
    dataset = evidence.dataset_of(store.uri, evidence.decoded(config, store))
    plan = Plan(config, dataset, float32(config))
    plans = {"": plan} | evidence.without_views(plan)
    rng = np.random.default_rng(0)
    for each in plans.values():
        num = each.config.views.num
        for node in each.nodes:
            network = store.commit(network_address(node.key), {}, {}, node.payload)
            table = logit_cache.assemble_table(plan.dataset, num, lambda ids, _: rng.normal(0, 2, (len(ids), 4)))
            logit_cache.write_cache(store, cache_payload(node.key, network), table)
    return plans, store


def test_ablated_students_have_keys_of_what_was_changed(data, tmp_path, monkeypatch):
    plans, store = plans_with_logit_caches(data, tmp_path, monkeypatch)

    def keys():
        return {row: works[0].job.uid for row, works in evidence.ablated(plans, store).students.items()}

    first = keys()
    clean = {"DE, clean images", "labels, clean images"}
    assert first.keys() == {"DE", "even weights", "labels", *clean, *evidence.ABLATIONS}
    assert len(set(first.values())) == len(first)
    monkeypatch.setattr(evidence, "ABLATIONS", evidence.ABLATIONS | {"DKD": {"student.distillation.temperature": 2.0}})
    assert {row for row, key in keys().items() if key != first[row]} == {"DKD"}


def test_the_views_are_ablated_with_the_networks_that_teach(data, tmp_path, monkeypatch):
    plans, store = plans_with_logit_caches(data, tmp_path, monkeypatch)
    names = {n for wave in evidence.waves(evidence.networks(plans, store)) for n in wave}
    assert names == {f"{name}{mark}" for name in ("teacher", "ta8", "ta6", "ta4") for mark in ("", ", clean images")}
    first, second = evidence.waves(evidence.networks(plans, store))
    assert first.keys() == {"teacher", "teacher, clean images"}, "both teachers at once"
    assert {work.job.views.num for name, work in second.items() if "clean" in name} == {1}
    rows = evidence.ablated(plans, store).students
    ours, clean = rows["DE"][0], rows["DE, clean images"][0]
    assert (ours.job.seed, ours.job.recipe) == (clean.job.seed, clean.job.recipe), "paired"
    assert not set(ours.teachers) & set(clean.teachers)
    assert set(clean.teachers) <= {node.key for node in plans[", clean images"].nodes}
    plans, _ = plans_with_logit_caches(data, tmp_path, monkeypatch, "--set=views.num=1", "--set=views.flip=false")
    assert plans.keys() == {""}, "nothing to take away"


@pytest.mark.parametrize("setting", ["study.replicates=2", "study.sweep={student.recipe.lr: {grid: [0.1, 0.2]}}"])
def test_what_the_table_has_no_place_for_is_refused(run, setting):
    with pytest.raises(UserError, match=setting.partition("=")[0]):
        run(f"--set={setting}")


def test_images_go_through_out_unchanged_and_unpickled(data, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evidence.py", *command(data, tmp_path)])
    config, store = evidence.study_of(evidence.parse()), Store(str(tmp_path))
    found = evidence.dataset_of(store.uri, evidence.decoded(config, store))
    fresh = evidence.load_dataset(config.data, config.splits, config.transform, memory_share=0.5)
    for field in ("class_names", "transform", "fingerprint"):
        assert getattr(found, field) == getattr(fresh, field)
    assert np.array_equal(found.images_NCHW, fresh.images_NCHW)
    assert np.array_equal(found.labels_N, fresh.labels_N)
    assert all(np.array_equal(found.splits.__dict__[s], fresh.splits.__dict__[s]) for s in fresh.splits.__dict__)
    assert json.loads(next(tmp_path.rglob("manifest.json")).read_text())["facts"]["names"] == list(fresh.class_names)
