"""Students on Ray Tune: shared data, reused actors, failures, silence, rungs, and nothing printed or left behind."""

import os
import signal
import tempfile
from dataclasses import replace

import numpy as np
import psutil
import pytest
import ray
import torch

from tests.integration import tiny_studies
from tests.integration.tiny_studies import HANGING, LONG_EPOCH, NET, RECIPE, plan
from tests.unit import tiny
from wetakd.logits import logit_cache
from wetakd.plan.outcomes import cache_digests
from wetakd.plan.result_keys import ResultKeys
from wetakd.plan.study_plan import control_weights
from wetakd.plan.trials import Student, Trial
from wetakd.stages import training_job, training_run
from wetakd.stages.ensemble_search import ensemble_problem
from wetakd.stages.evaluation import evaluate_ensembles
from wetakd.stages.halving import train_in_rungs
from wetakd.stages.networks import train_networks
from wetakd.stages.searches import search_weights
from wetakd.stages.student_trial import StudentInputs
from wetakd.stages.students import StudentRunner
from wetakd.stages.training_job import student_job
from wetakd.storage import failure_records
from wetakd.storage.addresses import student_address
from wetakd.storage.atomic_store import Store
from wetakd.storage.failure_records import Failure
from wetakd.training.epoch import Epoch

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def large():
    """60 MB of pixels, nearly all of them in the split test, which students never see."""
    data = tiny.dataset()
    pixels = np.zeros((60 * MEBIBYTE // 64, 1, 8, 8), np.uint8)
    pixels[: len(data.images_NCHW)] = data.images_NCHW
    pixels.flags.writeable = False
    return replace(data, images_NCHW=pixels)


@pytest.fixture(scope="module")
def trained(ray_cluster, tmp_path_factory, large):
    """Trained networks for all tests of this module."""
    made, store = plan(tmp_path_factory.mktemp("networks"), large)
    dataset_ref = ray.put(large)
    return dataset_ref, train_networks(tiny_studies.context(made, store, dataset_ref=dataset_ref))


def students_by_trial(made, trained) -> dict[Trial, Student]:
    keys = ResultKeys(made, cache_digests(trained[1]))
    return {trial: keys.student(trial, control_weights(trial)) for trial in made.trials}


def students_of(made, trained) -> dict[str, Student]:
    return {student.key: student for student in students_by_trial(made, trained).values()}


def refs_by_digest(trained):
    """The logit caches by their SHA-256."""
    return {network.cache_digest: network.ref for network in trained[1].values()}


def run(made, trained, store, until=None, on_epoch=lambda *_: None, students=None):
    dataset_ref, networks = trained
    study = tiny_studies.context(made, store, dataset_ref=dataset_ref)
    runner = StudentRunner(study, networks, on_epoch, on_end=lambda _: None)
    return runner.train(students or students_of(made, trained), until or {})


def weights(store, student, data):
    manifest = store.find(student_address(student.key))
    return training_run.load_model(store, manifest, student.config.model, data).state_dict()


def expected(made, trained, student, folder):
    """Weights of the same student, trained in this process."""
    refs = refs_by_digest(trained)
    job = training_job.TrainingJob(
        uid="here",
        address=student_address(student.key),
        payload=student.payload,
        model=student.config.model,
        recipe=student.config.recipe,
        precision=student.precision,
        seed=student.seed,
        views=training_job.Views.of(made.config.views),
        device="cpu",
        store_uri=str(folder),
        checkpoint_s=1000.0,
        distillation=student.config.distillation if student.cache_digests else None,
        weights_K=student.weights_K,
    )
    list(training_run.run_job(job, made.dataset, [ray.get(refs[digest]) for digest in student.cache_digests]))
    return weights(Store(str(folder)), student, made.dataset)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


PROBE = {"name": "tests.integration.tiny_studies:probing"}
SLOW = {"model": {"name": "tests.integration.tiny_studies:slow"}, "recipe": RECIPE | {"epochs": 20}}
FEW = {"name": "tiny", "seeds": 1, "strategies": ["uniform"], "controls": ["teacher"]}


def test_students_share_actors_and_one_copy_of_the_data(tmp_path, trained, large, capfd, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made, store = plan(
        tmp_path / "store", large, study={"name": "tiny", "seeds": 3, "strategies": ["uniform"]}, student=NET
    )
    students = students_of(made, trained)
    assert len(students) == 12
    reported = []
    where = set()

    def on_epoch(key, epoch):
        reported.append((key, epoch.epoch))
        where.update(tiny_studies.pids_of("_StudentTrial"))

    capfd.readouterr()
    outcomes = run(made, trained, store, on_epoch=on_epoch)
    assert capfd.readouterr() == ("", "")
    assert [outcome.error for outcome in outcomes.values()] == [None] * 12
    assert sorted(reported) == sorted((key, epoch) for key in students for epoch in (1, 2))
    assert 1 <= len(where) <= 2
    # Nothing of Tune is left, neither here nor on storage.
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert {path.split("/")[0] for path in store.list("")} == {"students"}
    assert not [path for path in store.list("") if "checkpoints" in path]
    for student in list(students.values())[:4]:
        assert equal(weights(store, student, large), expected(made, trained, student, tmp_path / "alone"))
    again = run(made, trained, store)
    assert not any(outcome.trained for outcome in again.values())


def test_no_trial_copies_the_pixels(tmp_path, trained, large):
    made, store = plan(tmp_path, large, study=FEW, student={"model": PROBE, "recipe": RECIPE})
    assert {outcome.error for outcome in run(made, trained, store).values()} == {None}
    # The probe can tell: here, the pixels are private.
    assert tiny_studies.private_pixels() >= 60 * MEBIBYTE


def test_an_actor_copies_the_pixels_to_its_device_once(tmp_path, trained, large):
    made, store = plan(tmp_path, large, study=FEW | {"seeds": 2}, student=NET)
    some = list(students_of(made, trained).values())[:3]
    inputs = StudentInputs(
        trained[0],
        refs_by_digest(trained),
        [student_job(student, made.config, store.uri) for student in some],
        [student.cache_digests for student in some],
    )
    with tiny.counted_copies() as copies:
        for index in range(len(some)):
            assert len(list(inputs.epochs(index, lambda: None))) == RECIPE["epochs"]
    assert all(store.find(student_address(student.key)) for student in some)
    assert len(copies) == 1


def test_ensembles_are_searched_and_evaluated_without_the_images(tmp_path, trained, large):
    made, store = plan(
        tmp_path, large, study=FEW | {"strategies": ["greedy"]}, assistants={"first": NET, "second": NET}
    )
    networks = trained[1] | {(0, "second"): trained[1][0, "teacher"]}
    study = tiny_studies.context(made, store, dataset_ref=trained[0])
    (result,) = search_weights(study, networks).searches.results.values()
    mixture = (0, made.config.pool, tuple(result.weights.tolist()))
    scores = evaluate_ensembles([mixture], networks, made.config, study.labels_ref)[mixture]
    logits = [logit_cache.logits_of_table(ray.get(networks[0, name].ref)) for name in made.config.pool]
    for split in ("weigh", "choose", "test"):
        problem = ensemble_problem(logits, large.split_labels, made.config.weights, split)
        accuracy, nll = problem.evaluate(result.weights)
        assert (scores[f"ensemble_{split}_accuracy"], scores[f"ensemble_{split}_nll"]) == (accuracy, nll)
    assert scores["ensemble_weigh_accuracy"] == result.accuracy


def test_a_student_whose_loss_is_not_finite_costs_itself(tmp_path, trained, large):
    made, store = plan(
        tmp_path,
        large,
        study={
            "name": "tiny",
            "seeds": 1,
            "strategies": ["uniform"],
            "controls": ["none", "teacher"],
            "sweep": {"student.recipe.lr": {"grid": [0.05, 1e30]}},
        },
    )
    outcomes = run(made, trained, store)
    for outcome in outcomes.values():
        if outcome.student.config.recipe.lr > 1:
            assert "diverged" in outcome.error
            assert outcome.manifest is None
        else:
            assert outcome.error is None
            assert outcome.manifest is not None
    assert {outcome.error is None for outcome in outcomes.values()} == {True, False}
    again = run(made, trained, store)
    assert {key: outcome.error for key, outcome in again.items()} == {key: o.error for key, o in outcomes.items()}
    assert not any(outcome.trained for outcome in again.values())


def test_an_error_of_a_users_model_is_recorded_and_a_lack_of_memory_is_tried_again(tmp_path, trained, large):
    study = {"name": "tiny", "seeds": 1, "strategies": ["uniform"], "controls": ["none"]}
    for error, tries in (("bug", 1), ("memory", 2)):
        marker = tmp_path / error
        made, store = plan(tmp_path / "store", large, study=study, student=tiny_studies.failing_network(marker, error))
        none = {key: student for key, student in students_of(made, trained).items() if not student.cache_digests}
        first, second = run(made, trained, store, students=none), run(made, trained, store, students=none)
        assert [outcome.error for outcome in first.values()] == [outcome.error for outcome in second.values()]
        assert len(marker.read_text().split()) == tries


def test_a_student_that_is_recorded_as_failed_later_stops_where_its_rung_is(tmp_path, trained, large):
    """What a halved study finds does not depend on a failure that another study has recorded."""
    made, store = plan(tmp_path, large, study=FEW)
    key, student = next(iter(students_of(made, trained).items()))
    epochs = [Epoch(number, 1.0, 0.1, number / 10, 1.0, 0.1) for number in (1, 2)]
    failure_records.record_failure(
        store, student_address(key), Failure("diverged", [epoch.to_dict() for epoch in epochs])
    )
    for until, stopped_at, error in ((1, epochs[0], None), (2, epochs[1], None), (3, None, "diverged")):
        outcome = run(made, trained, store, {key: until}, students={key: student})[key]
        assert (outcome.stopped_at, outcome.error) == (stopped_at, error)
        assert outcome.stopped_epochs == tuple(epochs[:until] if error is None else ())
    assert run(made, trained, store, students={key: student})[key].error == "diverged"


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_a_trial_that_dies_or_falls_silent_is_tried_again(tmp_path, trained, large, sign):
    limits = {"checkpoint_s": 0, "silent_s": 6, "retries": 1}
    made, store = plan(tmp_path / "store", large, study=FEW, student=SLOW, limits=limits)
    struck, reported = [], []

    def strike(key, epoch):
        reported.append((key, epoch.epoch))
        if not struck:
            struck.append(tiny_studies.pids_of("_StudentTrial")[0])
            os.kill(struck[0], sign)

    outcomes = run(made, trained, store, on_epoch=strike)
    assert not psutil.pid_exists(struck[0])
    assert len(reported) == len(set(reported))
    for outcome in outcomes.values():
        assert outcome.error is None
        assert equal(
            weights(store, outcome.student, large), expected(made, trained, outcome.student, tmp_path / "alone")
        )


@pytest.mark.parametrize(("student", "says"), [(LONG_EPOCH, None), (HANGING, "raise limits.silent_s")])
def test_only_a_hanging_step_is_killed_however_long_an_epoch(tmp_path, trained, large, student, says):
    limits = {"silent_s": 4, "retries": 0}
    made, store = plan(tmp_path / "store", large, study=FEW, student=student, limits=limits)
    outcomes = run(made, trained, store)
    assert outcomes
    for outcome in outcomes.values():
        assert outcome.error is None if says is None else says in outcome.error


def test_actors_that_die_between_two_students_cost_none(tmp_path, trained, large):
    """Tune gives a trial up, however many tries it has, whose actor dies before it begins."""
    made, store = plan(tmp_path / "store", large, study=FEW, student=SLOW, limits={"retries": 1})
    struck = []

    def strike(key, epoch):
        if not struck and epoch.epoch == made.config.student.recipe.epochs:
            struck.extend(tiny_studies.pids_of("_StudentTrial"))
            for pid in struck:
                os.kill(pid, signal.SIGKILL)

    outcomes = run(made, trained, store, on_epoch=strike)
    assert struck
    assert all(outcome.error is None and outcome.manifest is not None for outcome in outcomes.values())


def test_rungs_stop_students_and_the_survivors_go_on_where_they_were(tmp_path, trained, large):
    study = FEW | {
        "sweep": {"student.recipe.lr": {"grid": [0.05, 1e-6]}},
        "halving": {"min_epochs": 2, "factor": 2},
    }
    made, store = plan(tmp_path / "store", large, study=study, student=NET | {"recipe": RECIPE | {"epochs": 6}})
    students = students_by_trial(made, trained)
    reported = []

    def train(some, until):
        return run(made, trained, store, until, lambda key, epoch: reported.append((key, epoch.epoch)), some)

    outcomes = train_in_rungs(students, made.config.study.halving, train, lambda _: None)
    assert all(outcome.error is None for outcome in outcomes.values())
    for outcome in outcomes.values():
        if outcome.student.config.recipe.lr == 0.05:
            assert len(outcome.facts.epochs) == 6
            assert equal(
                weights(store, outcome.student, large), expected(made, trained, outcome.student, tmp_path / "alone")
            )
        else:
            assert [epoch.epoch for epoch in outcome.stopped_epochs] == [1, 2]
            assert store.find(student_address(outcome.student.key)) is None
    assert len(outcomes) == 4


def test_an_interrupt_ends_the_trials_at_once_and_the_next_run_goes_on(tmp_path, trained, large):
    made, store = plan(tmp_path, large, study=FEW, student=SLOW | {"recipe": RECIPE | {"epochs": 60}})

    def interrupt(key, epoch):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(made, trained, store, on_epoch=interrupt)
    tiny_studies.wait_for_cpus(2)
    outcomes = run(made, trained, store, dict.fromkeys(students_of(made, trained), 1))
    assert all(outcome.stopped_at.epoch == 1 for outcome in outcomes.values())
