"""What the trainings of networks and students are given."""

from tests.unit.tiny import dataset
from wetakd.common.canonical_json import key_of
from wetakd.config.study_file import load_study_file
from wetakd.data.views import Views
from wetakd.plan.result_keys import ResultKeys
from wetakd.plan.study_plan import Plan
from wetakd.stages.training_job import network_job, student_job
from wetakd.storage.addresses import network_address, student_address

PLAN = Plan(
    load_study_file(None, ["weights.mixture=logits", "study.subsets=[3]", "study.strategies=[uniform, de]"]), dataset()
)
KEYS = ResultKeys(PLAN, {(node.replicate, node.name): f"digest of {node.key}" for node in PLAN.nodes})


def test_a_teacher_learns_from_labels_and_an_assistant_from_its_teachers_evenly() -> None:
    teacher, assistant = (network_job(node, PLAN.config, "runs") for node in PLAN.nodes[:2])
    assert (teacher.distillation, teacher.weights_K) == (None, ())
    assert (assistant.distillation, assistant.weights_K) == (PLAN.nodes[1].config.distillation, (1.0,))
    assert teacher.address == network_address(PLAN.nodes[0].key)
    assert (teacher.payload, assistant.payload) == (PLAN.nodes[0].payload, PLAN.nodes[1].payload)
    assert teacher.seed != assistant.seed


def test_a_student_learns_from_its_mixture_or_from_labels_alone() -> None:
    by_strategy = {trial.arm.strategy: trial for trial in PLAN.trials}
    mixed = KEYS.student(by_strategy["de"], [0.2, 0.3, 0.5])
    job = student_job(mixed, PLAN.config, "runs", stop_after=2)
    assert (job.payload, key_of(job.payload)) == (mixed.payload, mixed.key)
    assert (job.address, job.weights_K, job.stop_after) == (student_address(mixed.key), (0.2, 0.3, 0.5), 2)
    assert job.distillation == PLAN.config.student.distillation
    assert (job.mixture, job.views) == ("logits", Views.of(PLAN.config.views))
    alone = student_job(KEYS.student(by_strategy["none"], ()), PLAN.config, "runs")
    assert (alone.distillation, alone.weights_K, alone.stop_after) == (None, (), None)
