"""What a worker asks of the cluster, and how many worker groups it holds at once."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from wetakd.cluster import ray_cluster, worker_group_slots
from wetakd.cluster.capacity import num_workers, worker_resources
from wetakd.cluster.task_options import check_placement, ensemble_placement, task_options
from wetakd.cluster.worker_group_slots import Slots
from wetakd.common.errors import UserError
from wetakd.config import ModelConfig, NetworkConfig, PlacementConfig
from wetakd.config.study_file import load_study_file


def network(workers=1, **placement) -> NetworkConfig:
    return NetworkConfig(model=ModelConfig(name="plain"), workers=workers, placement=PlacementConfig(**placement))


def test_a_placement_in_rays_names():
    placement = PlacementConfig(cpus=2, gpus=0.5, resources={"spot": 1}, labels={"zone": "a"})
    assert worker_resources(placement) == {"CPU": 2, "GPU": 0.5, "spot": 1}
    assert worker_resources(PlacementConfig()) == {"CPU": 1}
    options = task_options(placement, 4)
    assert options["num_cpus"] == 2
    assert options["num_gpus"] == 0.5
    assert options["resources"] == {"spot": 1}
    assert options["label_selector"] == {"zone": "a"}
    assert options["max_retries"] == 4
    assert task_options(PlacementConfig(), 0)["label_selector"] is None


def test_ensembles_are_searched_and_evaluated_with_one_cpu_on_the_nodes_of_the_students():
    students = PlacementConfig(cpus=4, gpus=1, resources={"spot": 1}, labels={"pool": "students"})
    expected = PlacementConfig(cpus=1, resources={"spot": 1}, labels={"pool": "students"})
    assert ensemble_placement(students) == expected


@pytest.mark.parametrize(("workers", "expected"), [(0, 1), (1, 1), (3, 3), ((2, 5), 2)])
def test_workers_needed_at_least(workers, expected):
    assert num_workers(network(workers)) == expected


def test_only_files_with_worker_groups_need_the_dashboard():
    assert not ray_cluster.uses_worker_groups(load_study_file(None))
    assert ray_cluster.uses_worker_groups(load_study_file(None, ["assistants.ta4.workers=1"]))


def test_switches_of_the_user_stand(monkeypatch):
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "1")
    monkeypatch.delenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", raising=False)
    ray_cluster.set_switches()
    assert ray_cluster.os.environ["RAY_CHDIR_TO_TRIAL_DIR"] == "1"
    assert ray_cluster.os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == "0"
    monkeypatch.undo()


@pytest.fixture
def four_cpus(monkeypatch):
    monkeypatch.setattr(worker_group_slots.ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": 1.0})
    monkeypatch.setattr(worker_group_slots, "is_growing", lambda: False)


def enter(slots, config, entered, leave, stopped=None):
    def body():
        with slots.take(config, stopped or threading.Event()):
            entered.set()
            assert leave.wait(20)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    return thread


@pytest.mark.usefixtures("four_cpus")
def test_groups_run_together_as_far_as_they_fit_and_one_that_waits_gets_its_turn():
    slots, leave = Slots(), threading.Event()
    entered = [threading.Event() for _ in range(3)]
    first = enter(slots, network(2), entered[0], leave)
    assert entered[0].wait(5)
    second = enter(slots, network((2, 9)), entered[1], leave)
    assert entered[1].wait(5)
    third = enter(slots, network(1), entered[2], leave)
    assert not entered[2].wait(0.5)
    leave.set()
    assert entered[2].wait(5)
    for thread in (first, second, third):
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.usefixtures("four_cpus")
def test_one_that_asks_for_more_than_there_is_runs_alone_for_the_cluster_may_grow():
    slots, leave, entered = Slots(), threading.Event(), threading.Event()
    leave.set()
    enter(slots, network(64), entered, leave).join(5)
    assert entered.is_set()


@pytest.mark.usefixtures("four_cpus")
def test_whoever_waits_gives_up_when_the_driver_stops():
    slots, leave, stopped = Slots(), threading.Event(), threading.Event()
    entered = [threading.Event(), threading.Event()]
    enter(slots, network(4), entered[0], leave)
    assert entered[0].wait(5)
    waiting = enter(slots, network(4), entered[1], leave, stopped)
    assert not entered[1].wait(0.3)
    stopped.set()
    assert entered[1].wait(5)
    leave.set()
    waiting.join(5)
    assert not waiting.is_alive()


def test_the_token_of_a_private_cluster_is_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    ray_cluster.guard_token()
    assert not token.exists()
    token.write_text("secret")
    token.chmod(0o644)
    ray_cluster.guard_token()
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_first_token_is_never_readable_for_others_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    old = os.umask(0)
    try:
        ray_cluster.guard_token()
    finally:
        os.umask(old)
    token = tmp_path / ".ray/auth_token"
    assert token.stat().st_mode & 0o777 == 0o600
    first = token.read_text()
    assert len(first) == 32
    ray_cluster.guard_token()
    assert token.read_text() == first


@pytest.mark.parametrize(
    "environment",
    [
        {"RAY_ADDRESS": "10.0.0.1:6379"},
        {"RAY_ADDRESS": "auto"},
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_MODE": "token"},
    ],
)
def test_a_token_is_only_written_for_a_private_cluster_that_uses_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ray_cluster.guard_token()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("placement", "says"),
    [
        ({"cpus": 1e-5}, "num_cpus"),
        ({"resources": {"fast": 1e-5}}, "fast"),
        ({"resources": {"CPU": 2}}, "num_cpus"),
        ({"labels": {"a b": "c"}}, "a b"),
        ({"labels": {"-x/c": "d"}}, "-x"),
        ({"labels": {"zone": "in(a"}}, r"in\(a"),
    ],
)
def test_what_ray_would_refuse_hours_later_is_refused_at_once(placement: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=rf"^student\.placement: Ray refuses it: .*{says}") as told:
        check_placement(PlacementConfig(**placement), "student.placement")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("labels", [{"zone": "in(a, b)"}, {"zone": "!in(a)"}, {"ray.io/zone": "!a"}, {"zone": ""}])
def test_rays_selectors_may_be_used(labels: dict[str, str]) -> None:
    check_placement(PlacementConfig(gpus=0.5, resources={"fast": 1}, labels=labels), "student.placement")
