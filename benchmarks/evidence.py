"""The evidence: a study's recipes at full length on one machine, without Ray and MLflow.

    python benchmarks/evidence.py DATA OUT                    plain 10 -> 8/6/4 -> 2, as jobs/cifar10.yaml has them
    python benchmarks/evidence.py DATA OUT --family resnet    ResNet 110 -> 56/32/20 -> 8
    python benchmarks/evidence.py DATA OUT --ablation         what loss, schedule and weights bought
    python benchmarks/evidence.py DATA OUT --ablation --set views.num=1 --set views.flip=false         and the views

DATA is a folder with `train.parquet` and `test.parquet` of CIFAR-10 (columns `img`, a struct with the encoded image as
`bytes`, and `label`). OUT keeps every finished network, so the same command goes on where the last one was stopped
(`--minutes`). Needs torch, numpy, scipy, pandas, pyarrow, pillow, pydantic and pyyaml. With a GPU, students train side
by side in `--processes` processes on it, in bfloat16. Fields of the study are set as in `wetakd run`: `--set a.b=c`.
"""

import argparse
import json
import multiprocessing
import pickle
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from wetakd import bank, training_job
from wetakd.assignments import network_job, student_address, student_job
from wetakd.config import StudyConfig
from wetakd.data import Dataset
from wetakd.data import load as load_data
from wetakd.inference import predict
from wetakd.plan import NetworkNode, Plan, Trial, control_weights, device_of
from wetakd.statistics import estimate, paired_difference
from wetakd.storage import Store, key_of
from wetakd.study_file import load as load_study
from wetakd.training_job import TrainingJob
from wetakd.weights import Problem
from wetakd.wording import difference, mean_and_width

STUDY = Path(__file__).parents[1] / "jobs/cifar10.yaml"
RESNETS = {"teacher": 110, "assistants.ta8": 56, "assistants.ta6": 32, "assistants.ta4": 20, "student": 8}
# One thing changed of the reference, which is DE over all assistants.
ABLATIONS: Mapping[str, Mapping[str, object]] = {
    "constant rate": {"student.recipe.schedule": "constant"},
    "DKD": {"student.distillation.loss": "dkd"},
    "DIST": {"student.distillation.loss": "dist"},
    "standardised logits": {"student.distillation.standardize": True},
}


@dataclass(frozen=True)
class Work:
    """One network to train and judge in a process of the pool."""

    job: TrainingJob
    teachers: tuple[str, ...]
    """Keys of the banks that it learns from."""
    bank_key: str | None = None
    """Where its own bank goes; None for a student."""


class Late(Exception):
    """The time is up; what is trained so far lies in a checkpoint."""


def main() -> None:
    arguments = parse()
    until = time.time() + 60 * arguments.minutes
    config, out = study_of(arguments), Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    dataset = decoded(config, out)
    plan, store = Plan(config, dataset), Store(str(out))
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        for wave in waves(plan.nodes):
            scores = done(
                pool,
                {
                    node.name: Work(network_job(node, plan.config, store.uri), node.teacher_keys, node.key)
                    for node in wave
                },
                out,
                until,
            )
            print(*(f"{name}: {100 * score:.2f} %" for name, score in sorted(scores.items())), sep="\n", flush=True)
        students = ablated(plan, store) if arguments.ablation else compared(plan, store)
        scores = done(pool, students.by_key(), out, until)
    minutes = (time.monotonic() - started) / 60
    print(students.table(scores), f"\n{device_name(config)}; {minutes:.0f} minutes; {' '.join(sys.argv)}", sep="\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--family", choices=("plain", "resnet"), default="plain")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--processes", type=int, default=8 if torch.cuda.is_available() else 2)
    parser.add_argument("--minutes", type=float, default=24.0, help="stop after so long, to be gone on with")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    return parser.parse_args()


def study_of(arguments: argparse.Namespace) -> StudyConfig:
    """The study file with the data, the device and the family in their places."""
    fields = {f"data.{part}": f"{arguments.data}/{part}.parquet" for part in ("train", "test")}
    fields |= {"study.subsets": "[3]", "storage": arguments.out, "mlflow.enabled": "false"}
    if arguments.family == "resnet":
        fields |= {f"{network}.model": f"{{name: resnet, options: {{depth: {d}}}}}" for network, d in RESNETS.items()}
    if torch.cuda.is_available():
        fields |= {f"{network}.placement.gpus": "1" for network in RESNETS}
    return load_study(STUDY, [f"{name}={value}" for name, value in fields.items()] + arguments.overrides)


def decoded(config: StudyConfig, out: Path) -> Dataset:
    """The images, decoded once for all processes."""
    file = out / f"images-{key_of(config.model_dump(mode='json', include={'data', 'splits', 'transform'}))}.pickle"
    if not file.exists():
        dataset = load_data(config.data, config.splits, config.transform, memory_share=config.limits.memory_share)
        file.write_bytes(pickle.dumps(dataset))
    (out / "images").write_text(str(file))
    return _dataset(str(file))


@cache
def _dataset(file: str) -> Dataset:
    dataset: Dataset = pickle.loads(Path(file).read_bytes())
    return dataset


# ------------------------------------------------------------------------------------------- networks and their banks


def waves(nodes: Sequence[NetworkNode]) -> Iterable[list[NetworkNode]]:
    """Networks in the order of their teachers; those of one wave may train at once."""
    left, known = list(nodes), set[str]()
    while left:
        wave = [node for node in left if known.issuperset(node.teacher_keys)]
        known |= {node.key for node in wave}
        left = [node for node in left if node not in wave]
        yield wave


def done(pool: ProcessPoolExecutor, works: Mapping[str, Work], out: Path, until: float) -> dict[str, float]:
    """Test accuracy of every network, once all are trained; leaves the program where the time is up."""
    file = (out / "images").read_text()
    waiting: dict[Future[float], str] = {pool.submit(train, work, file, until): key for key, work in works.items()}
    scores = {}
    try:
        for future in as_completed(waiting):
            scores[waiting[future]] = future.result()
            print(f"\r{len(scores)} of {len(works)}", end="", file=sys.stderr, flush=True)
    except Late:
        pool.shutdown(cancel_futures=True)
        sys.exit(f"\nstopped after {len(scores)} of {len(works)}; the same command goes on")
    print(file=sys.stderr)
    return scores


def train(work: Work, file: str, until: float) -> float:
    """In a process of the pool: train, write the bank, judge."""
    dataset, store, job = _dataset(file), Store(work.job.store_uri), work.job
    torch.set_num_threads(job.recipe.threads)
    banks = [table for key in work.teachers if (table := bank.read(store, key)) is not None]
    with closing(training_job.run(job, dataset, banks)) as epochs:
        for _ in epochs:
            if time.time() > until:
                raise Late
    manifest = store.find(job.address)
    assert manifest is not None, "it was committed a moment ago"
    model = training_job.load_model(store, manifest, job.model, dataset).to(job.device)
    if work.bank_key and bank.read(store, work.bank_key) is None:
        bank.write(store, work.bank_key, bank.compute(model, dataset, job.views, job.device))
    logits_NC = predict(model, dataset, dataset.splits.test, device=job.device)
    return float(np.mean(logits_NC.argmax(axis=1) == dataset.labels_N[dataset.splits.test]))


# ----------------------------------------------------------------------------------------------------------- students


@dataclass(frozen=True)
class Comparison:
    """Students by row of the table and seed."""

    students: Mapping[str, Mapping[int, Work]]
    against: tuple[str, ...]
    """Rows that the others are held against."""

    def by_key(self) -> dict[str, Work]:
        """Equal students once."""
        return {work.job.uid: work for seeds in self.students.values() for work in seeds.values()}

    def table(self, scores: Mapping[str, float]) -> str:
        """Mean test accuracy with its 95 % t interval, and differences paired by seed."""
        rows = {
            row: {(0, seed): scores[work.job.uid] for seed, work in seeds.items()}
            for row, seeds in self.students.items()
        }
        head = ["student", "test, %", *(f"against {other}, points" for other in self.against)]
        lines = [head, ["---", *["---:"] * (len(head) - 1)]]
        for row, values in sorted(rows.items(), key=lambda item: -sum(item[1].values())):
            found = [
                None if other == row else paired_difference(values, rows[other], by_replicate=False)
                for other in self.against
            ]
            lines.append([row, mean_and_width(estimate(values, by_replicate=False)), *map(difference, found)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def compared(plan: Plan, store: Store) -> Comparison:
    """Every arm of the study."""
    rows: dict[str, dict[int, Work]] = {}
    problem = ensemble(plan, store)
    for trial in plan.trials:
        student = plan.student(trial, weights_of(plan, trial, problem))
        rows.setdefault(trial.arm.label, {})[trial.seed] = Work(
            student_job(student, plan.config, store.uri), student.teacher_keys
        )
    return Comparison(rows, (f"uniform {'+'.join(plan.config.pool)}", "none"))


def ablated(plan: Plan, store: Store) -> Comparison:
    """DE over all assistants, and the same with one thing changed."""
    rows, pool = compared(plan, store).students, "+".join(plan.config.pool)
    reference = rows[f"de {pool}"]
    found: dict[str, Mapping[int, Work]] = {
        "DE": reference,
        "even weights": rows[f"uniform {pool}"],
        "the teacher alone": rows["teacher teacher"],
        "labels": rows["none"],
    }
    for name, point in ABLATIONS.items():
        config = plan.student_config(json.dumps(point))
        found[name] = {
            seed: renamed(name, replace(work.job, recipe=config.recipe, distillation=config.distillation), work)
            for seed, work in reference.items()
        }
    return Comparison(found, ("DE",))


def renamed(name: str, job: TrainingJob, work: Work) -> Work:
    """The student of `work` with another job, under an address of its own."""
    key = key_of({"of": work.job.uid, "changed": name})
    return replace(work, job=replace(job, uid=key, address=student_address(key)))


def ensemble(plan: Plan, store: Store) -> Problem:
    """The assistants on `weigh`, ready to be searched."""
    tables = [bank.read(store, plan.node_of[0, name].key) for name in plan.config.pool]
    scores_KNC = np.stack([bank.view(table).weigh_NC for table in tables if table is not None])
    labels_N, config = plan.dataset.labels_N[plan.dataset.splits.weigh], plan.config.weights
    return Problem(scores_KNC, labels_N, scores_are="logits", temperature=config.temperature, mixture=config.mixture)


def weights_of(plan: Plan, trial: Trial, problem: Problem) -> tuple[float, ...]:
    """As the study would find them: on `weigh`, with the trial's seed."""
    if not trial.arm.is_searched:
        return control_weights(trial)
    config, search = plan.config.weights, plan.search(trial)
    result = problem.search(
        strategy=search.strategy,
        seed=search.seed,
        objective=config.objective,
        engine=config.engine,
        max_evaluations=config.max_evaluations,
    )
    return tuple(result.weights.tolist())


def device_name(config: StudyConfig) -> str:
    if device_of(config.student.placement) == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU cores, {torch.backends.cpu.get_cpu_capability()}"


if __name__ == "__main__":
    main()
