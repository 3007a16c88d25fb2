"""What a study asks of a cluster, and whether nodes can hold it."""

import pytest

from wetakd.cluster import capacity
from wetakd.cluster.capacity import Request
from wetakd.common.errors import UserError
from wetakd.config import PlacementConfig
from wetakd.config.study_file import load_study_file


def node(labels=None, **resources):
    return {"Alive": True, "Resources": resources, "Labels": labels or {}}


def _nothing_stored(network):
    return False


def test_a_file_asks_for_each_network_and_for_one_student():
    config = load_study_file(
        None, ["assistants.ta4.workers=[2, 5]", "assistants.ta6.workers=3", "student.placement={cpus: 2}"]
    )
    asked = {request.field: (request.workers, request.asked) for request in capacity.requests(config)}
    assert asked == {
        "teacher.placement": (1, {"CPU": 1}),
        "assistants.ta8.placement": (1, {"CPU": 1}),
        "assistants.ta6.placement": (3, {"CPU": 1}),
        "assistants.ta4.placement": (2, {"CPU": 1}),
        "student.placement": (1, {"CPU": 2}),
    }


@pytest.mark.parametrize(
    ("selector", "suits"),
    [
        ({}, True),
        ({"pool": "networks"}, True),
        ({"pool": "students"}, False),
        ({"pool": "in(students, networks)"}, True),
        ({"pool": "!in(students, networks)"}, False),
        ({"pool": "!students"}, True),
        ({"pool": "!networks"}, False),
        ({"zone": "a"}, False),
        ({"zone": "!a"}, True),
        ({"pool": "networks", "zone": "a"}, False),
    ],
)
def test_label_selectors_mean_what_they_mean_to_ray(selector, suits):
    assert capacity.matches({"pool": "networks"}, selector) is suits


@pytest.fixture
def two_nodes(monkeypatch):
    nodes = [node({"pool": "networks"}, CPU=4.0, GPU=1.0), node({"pool": "students"}, CPU=8.0)]
    monkeypatch.setattr(capacity.ray, "nodes", lambda: nodes)
    monkeypatch.setattr(capacity, "is_growing", lambda: False)


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.parametrize(
    "change",
    ["teacher.placement={cpus: 4, gpus: 1}", "student.placement={cpus: 8, labels: {pool: students}}"],
)
def test_what_a_node_holds_needs_no_word(change):
    said = []
    capacity.check_capacity(load_study_file(None, [change]), said.append, _nothing_stored)
    assert said == []


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("student.placement={cpus: 9}", "student.placement: 1 worker(s) of 9 CPU can never run here, for this cluster"),
        ("teacher.placement={cpus: 1, gpus: 2}", "teacher.placement: 1 worker(s) of 1 CPU, 2 GPU can never run here"),
        (
            "teacher.placement={cpus: 8, labels: {pool: networks}}",
            "teacher.placement: 1 worker(s) of 8 CPU, label pool=networks can never run here",
        ),
        (
            "assistants.ta6.placement={cpus: 1, resources: {spot: 1}}",
            "assistants.ta6.placement: 1 worker(s) of 1 CPU, 1 spot can never run here",
        ),
    ],
)
def test_what_no_node_can_hold_is_refused_in_one_line(change, line):
    with pytest.raises(UserError) as refused:
        capacity.check_capacity(load_study_file(None, [change]), print, _nothing_stored)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("two_nodes")
def test_a_network_that_is_stored_needs_nothing_of_the_cluster():
    config = load_study_file(None, ["teacher.placement={gpus: 2}", "assistants.ta6.placement={resources: {spot: 1}}"])
    said = []
    capacity.check_capacity(config, said.append, lambda network: network in ("teacher", "ta6"))
    assert said == []
    with pytest.raises(UserError, match=r"^assistants\.ta6\.placement: "):
        capacity.check_capacity(config, said.append, lambda network: network == "teacher")
    with pytest.raises(UserError, match=r"^student\.placement: "):
        capacity.check_capacity(
            load_study_file(None, ["student.placement={gpus: 2}"]), said.append, lambda network: True
        )


@pytest.mark.usefixtures("two_nodes")
def test_workers_of_one_network_must_fit_together():
    config = load_study_file(None, ["assistants.ta6.workers=4", "assistants.ta6.placement={cpus: 3}"])
    with pytest.raises(UserError, match=r"^assistants\.ta6\.placement: 4 worker\(s\) of 3 CPU"):
        capacity.check_capacity(config, print, _nothing_stored)


@pytest.mark.usefixtures("two_nodes")
def test_where_the_cluster_grows_it_waits_unless_the_autoscaler_says_never(monkeypatch):
    monkeypatch.setattr(capacity, "is_growing", lambda: True)
    never = {"student.placement"}
    monkeypatch.setattr(capacity, "_impossible", lambda missing: [r for r in missing if r.field in never])
    said = []
    config = load_study_file(None, ["teacher.placement={cpus: 16}"])
    capacity.check_capacity(config, said.append, _nothing_stored)
    assert said == ["waiting   teacher.placement asks for 1 x 16 CPU: the cluster must grow first"]
    with pytest.raises(UserError, match="and its autoscaler has none for it"):
        capacity.check_capacity(load_study_file(None, ["student.placement={cpus: 64}"]), said.append, _nothing_stored)


def test_a_request_is_shown_with_its_labels():
    assert Request("f", PlacementConfig(cpus=2, gpus=0.5, labels={"a": "b"}), 1).shown == "2 CPU, 0.5 GPU, label a=b"
