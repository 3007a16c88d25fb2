"""The evidence: a study's recipes at full length on one machine, without Ray and MLflow.

    python benchmarks/evidence.py DATA OUT                    plain 10 -> 8/6/4 -> 2, as jobs/cifar10.yaml has them
    python benchmarks/evidence.py DATA OUT --family resnet    ResNet 110 -> 56/32/20 -> 8
    python benchmarks/evidence.py DATA OUT --ablation         what loss, schedule, weights and views bought

DATA is a folder with `train.parquet` and `test.parquet` of CIFAR-10 (columns `img`, a struct with the encoded image as
`bytes`, and `label`). OUT keeps every finished network, so the same command goes on where the last one was stopped
(`--minutes`); a command that was stopped prints what is finished, says what is missing, and exits with 1. The minutes
below the table are those of all runs of the same command on the same OUT.

Needs torch, numpy, scipy, pyarrow, pillow (decodes the images), pydantic and pyyaml (read the study file) and
safetensors (weights on storage), and what these need; neither Ray nor MLflow, pandas, psutil or torchvision, nor an
installed wetakd. With a GPU, students train side by side in `--processes` processes on it, in bfloat16. Fields of the
study are set as in `wetakd run`: `--set a.b=c`.
"""

import argparse
import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # spawned processes get a copy

try:
    import numpy as np
    import pyarrow as pa
    import torch

    from wetakd.common.canonical_json import key_of
    from wetakd.common.errors import UserError
    from wetakd.config import StudyConfig, SweepPoint, ViewsConfig
    from wetakd.config.study_file import load_study_file as load_study
    from wetakd.data.dataset import Dataset, Splits, load_dataset
    from wetakd.data.transform import Transform
    from wetakd.logits import logit_cache
    from wetakd.plan.key_payloads import cache_payload
    from wetakd.plan.resolved_precision import resolve_precisions_here
    from wetakd.plan.result_keys import ResultKeys
    from wetakd.plan.study_plan import Plan, control_weights
    from wetakd.plan.trials import Trial, device_of
    from wetakd.report.estimate_format import difference, mean_and_width
    from wetakd.results.statistics import estimate, paired_difference
    from wetakd.stages import training_run
    from wetakd.stages.ensemble_search import SearchFailure, ensemble_problem, run_search
    from wetakd.stages.training_job import TrainingJob, network_job, student_job
    from wetakd.storage.addresses import network_address
    from wetakd.storage.atomic_store import Store
    from wetakd.storage.manifest import Manifest
    from wetakd.training.inference import predict
    from wetakd.weights import Problem
except ModuleNotFoundError:
    modules = {"PIL": "pillow", "yaml": "pyyaml"}
    names = ("torch", "numpy", "scipy", "pyarrow", "PIL", "pydantic", "yaml", "safetensors")
    if not (missing := [modules.get(name, name) for name in names if find_spec(name) is None]):
        raise
    sys.exit(f"benchmarks/evidence.py: not installed here: {', '.join(missing)}")

STUDY = ROOT / "jobs/cifar10.yaml"
RESNETS = {"teacher": 110, "assistants.ta8": 56, "assistants.ta6": 32, "assistants.ta4": 20, "student": 8}
# One thing changed of the reference, which is DE over all assistants.
ABLATIONS: Mapping[str, Mapping[str, object]] = {
    "constant rate": {"student.recipe.schedule": "constant"},
    "DKD": {"student.distillation.loss": "dkd"},
    "DKD, beta 1": {"student.distillation.loss": "dkd", "student.distillation.dkd_beta": 1.0},
    "DIST": {"student.distillation.loss": "dist"},
    "standardised logits": {"student.distillation.standardize": True},
}
CLEAN = ", clean images"


@dataclass(frozen=True)
class Work:
    """One network to train and judge in a process of the pool."""

    job: TrainingJob
    teachers: tuple[str, ...]
    """Keys of the networks that it learns from."""
    network_key: str | None = None
    """Its own key; None for a student."""


class Clock:
    """When to stop, and the minutes of every run of this command, kept in OUT after each network."""

    def __init__(self, file: Path, minutes: float) -> None:
        self.until = time.time() + 60 * minutes
        self._file, self._started = file, time.monotonic()
        self._earlier: list[float] = json.loads(file.read_text()) if file.exists() else []

    def runs(self) -> list[float]:
        """Minutes of each run, this one last."""
        runs = [*self._earlier, (time.monotonic() - self._started) / 60]
        self._file.write_text(json.dumps(runs))
        return runs

    def __str__(self) -> str:
        runs = self.runs()
        return f"{sum(runs):.0f} minutes" + (f" in {len(runs)} runs" if len(runs) > 1 else "")


def main() -> None:
    try:
        sys.exit(run(parse()))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def run(arguments: argparse.Namespace) -> str | None:
    """Train what is missing and print the table; returns what is still missing when the time is up."""
    config, store = study_of(arguments), Store(arguments.out)
    command = key_of({"study": config.model_dump(mode="json"), "ablation": arguments.ablation})
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    clock = Clock(Path(arguments.out) / f"minutes-{command}.json", arguments.minutes)
    images = decoded(config, store)
    plans = {"": Plan(config, dataset_of(store.uri, images), resolve_precisions_here(config))}
    if arguments.ablation:
        plans |= without_views(plans[""])
    late = None
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        for works in waves(networks(plans, store)):
            scores = done(pool, works, images, clock)
            print(*(f"{name}: {100 * score:.2f} %" for name, score in sorted(scores.items())), sep="\n", flush=True)
            if late := stopped(works, scores, "networks"):
                print(f"No table yet, not finished: {', '.join(sorted(works.keys() - scores.keys()))}")
                break
        else:
            students = ablated(plans, store) if arguments.ablation else compared(plans[""], store)
            scores = done(pool, students.by_key(), images, clock)
            late = stopped(students.by_key(), scores, "students")
            print(students.table(scores))
    print(f"\n{device_name(config)}; {clock}; {' '.join(sys.argv)}")
    return late


def stopped(works: Mapping[str, Work], scores: Mapping[str, float], what: str) -> str | None:
    """What to say where the time was up."""
    if len(scores) == len(works):
        return None
    return f"stopped after {len(scores)} of {len(works)} {what}; the same command goes on"


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
    config = load_study(STUDY, [f"{name}={value}" for name, value in fields.items()] + arguments.overrides)
    for field, value, only in (("replicates", config.study.replicates, 1), ("sweep", dict(config.study.sweep), {})):
        if value != only:
            raise UserError(f"study.{field}: {value} needs `wetakd run`; here it can only be {only}")
    return config


def decoded(config: StudyConfig, store: Store) -> str:
    """Where the images lie in OUT, decoded once for all processes: arrays and JSON, nothing that is unpickled."""
    address = f"images/{key_of(config.model_dump(mode='json', include={'data', 'splits', 'transform'}))}"
    if store.find(address) is None:
        found = load_dataset(config.data, config.splits, config.transform, memory_share=config.limits.memory_share)
        splits = {field.name: getattr(found.splits, field.name) for field in fields(Splits)}
        arrays = io.BytesIO()
        np.savez(arrays, images=found.images_NCHW, labels=found.labels_N, **splits)
        told = {"names": found.class_names, "transform": found.transform.to_dict(), "fingerprint": found.fingerprint}
        store.commit(address, {"images.npz": arrays.getvalue()}, told)
    return address


@cache
def dataset_of(store_uri: str, address: str) -> Dataset:
    """What `decoded` wrote, checked against its digest."""
    store = Store(store_uri)
    manifest = store.find(address)
    assert manifest is not None, "it was committed a moment ago"
    told = manifest.facts
    with np.load(pa.BufferReader(store.read(manifest, "images.npz")), allow_pickle=False) as arrays:
        splits = Splits(**{field.name: arrays[field.name] for field in fields(Splits)})
        images_NCHW, labels_N = arrays["images"], arrays["labels"]
    transform = Transform.from_dict(told["transform"])
    return Dataset(images_NCHW, labels_N, tuple(told["names"]), splits, transform, told["fingerprint"])


# ------------------------------------------------------------------------------------ networks and their logit caches


def networks(plans: Mapping[str, Plan], store: Store) -> dict[str, Work]:
    """What teaches, by name and plan."""
    return {
        node.name + mark: Work(
            network_job(node, plan.config, store.uri),
            tuple(plan.node_of[node.replicate, teacher].key for teacher in node.teachers),
            node.key,
        )
        for mark, plan in plans.items()
        for node in plan.nodes
    }


def waves(works: Mapping[str, Work]) -> Iterable[dict[str, Work]]:
    """Networks in the order of their teachers; those of one wave may train at once."""
    left, known = dict(works), set[str | None]()
    while left:
        wave = {name: work for name, work in left.items() if known.issuperset(work.teachers)}
        known |= {work.network_key for work in wave.values()}
        left = {name: work for name, work in left.items() if name not in wave}
        yield wave


def done(pool: ProcessPoolExecutor, works: Mapping[str, Work], images: str, clock: Clock) -> dict[str, float]:
    """Test accuracy of every network that is finished before the time is up."""
    waiting: dict[Future[float | None], str] = {
        pool.submit(train, work, images, clock.until): key for key, work in works.items()
    }
    scores = {}
    for future in as_completed(waiting):
        if (score := future.result()) is not None:
            scores[waiting[future]] = score
        clock.runs()
        print(f"\r{len(scores)} of {len(works)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return scores


def train(work: Work, images: str, until: float) -> float | None:
    """In a process of the pool: train, write the logit cache, judge; None where the time was up before."""
    dataset, store, job = dataset_of(work.job.store_uri, images), Store(work.job.store_uri), work.job
    torch.set_num_threads(job.recipe.threads)
    manifest = trained(work, dataset, store, until)
    if manifest is None:
        return None
    model = training_run.load_model(store, manifest, job.model, dataset).to(job.device)
    if work.network_key and stored_cache(store, work.network_key) is None:
        table = logit_cache.compute_logits(model, dataset, job.views, job.device, job.recipe.threads)
        logit_cache.write_cache(store, cache_payload(work.network_key, manifest), table)
    logits_NC = predict(model, dataset, dataset.splits.test, device=job.device, num_threads=job.recipe.threads)
    return float(np.mean(logits_NC.argmax(axis=1) == dataset.labels_N[dataset.splits.test]))


def stored_cache(store: Store, network_key: str) -> logit_cache.StoredCache | None:
    """The logit cache of a finished network."""
    manifest = store.find(network_address(network_key))
    return logit_cache.read_cache(store, key_of(cache_payload(network_key, manifest))) if manifest else None


def trained(work: Work, dataset: Dataset, store: Store, until: float) -> Manifest | None:
    """The finished network, found or made; None where the time is up: what it has learnt lies in a checkpoint."""
    manifest = store.find_intact(work.job.address)
    if manifest is not None or time.time() > until:
        return manifest
    caches = [cache.table for key in work.teachers if (cache := stored_cache(store, key)) is not None]
    assert len(caches) == len(work.teachers), "teachers come first"
    with closing(training_run.run_job(work.job, dataset, caches)) as epochs:
        for _ in epochs:
            if time.time() > until:
                break
    return store.find(work.job.address)


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
        """Mean test accuracy with its 95 % t interval, differences paired by seed, and what is not finished."""
        rows = {
            row: {(0, seed): scores[work.job.uid] for seed, work in seeds.items() if work.job.uid in scores}
            for row, seeds in self.students.items()
        }
        means = {row: estimate(values, by_replicate=False) for row, values in rows.items()}
        head = ["student", "test, %", *(f"against {other}, points" for other in self.against)]
        lines = [head, ["---", *["---:"] * (len(head) - 1)]]
        for row, mean in sorted(means.items(), key=lambda item: -item[1].mean if item[1] else 1.0):
            found = [
                None if other == row else paired_difference(rows[row], rows[other], by_replicate=False)
                for other in self.against
            ]
            lines.append([row, mean_and_width(mean), *map(difference, found)])
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        short = [
            f"{row} ({len(rows[row])} of {len(seeds)} seeds)"
            for row, seeds in self.students.items()
            if len(rows[row]) < len(seeds)
        ]
        return text + (f"\n\nNot finished: {', '.join(short)}" if short else "")


def compared(plan: Plan, store: Store) -> Comparison:
    """Every arm of the study."""
    rows = works_of(plan, store, plan.trials)
    against = (f"uniform {'+'.join(plan.config.pool)}", "none")
    return Comparison(rows, tuple(row for row in against if row in rows))


def without_views(plan: Plan) -> dict[str, Plan]:
    """The same study on the clean images alone, networks included; none where there are no other views."""
    views = ViewsConfig(num=1, flip=False, crop_padding=0, seed=plan.config.views.seed)
    if plan.config.views.num == 1:
        return {}
    return {CLEAN: Plan(plan.config.model_copy(update={"views": views}), plan.dataset, plan.precisions)}


def ablated(plans: Mapping[str, Plan], store: Store) -> Comparison:
    """DE over all assistants, and the same with one thing changed."""
    plan = plans[""]
    pool = "+".join(plan.config.pool)
    labels = {f"de {pool}": "DE", f"uniform {pool}": "even weights", "teacher teacher": "the teacher alone"}
    labels["none"] = "labels"
    trials = [trial for trial in plan.trials if trial.arm.label in labels]
    reference = [trial for trial in trials if labels[trial.arm.label] == "DE"]
    for name, change in ABLATIONS.items():
        changed = [replace(trial, arm=replace(trial.arm, point=SweepPoint.of(change))) for trial in reference]
        labels |= {trial.arm.label: name for trial in changed}
        trials += changed
    rows = {labels[label]: seeds for label, seeds in works_of(plan, store, trials).items()}
    if CLEAN in plans:
        trials = [trial for trial in trials if labels[trial.arm.label] in ("DE", "labels")]
        rows |= {labels[label] + CLEAN: seeds for label, seeds in works_of(plans[CLEAN], store, trials).items()}
    return Comparison(rows, ("DE",))


def works_of(plan: Plan, store: Store, trials: Iterable[Trial]) -> dict[str, dict[int, Work]]:
    """The students of some trials by arm and seed, each under the key that the study itself would give it."""
    found = {place: stored_cache(store, node.key) for place, node in plan.node_of.items()}
    caches = {place: cache for place, cache in found.items() if cache is not None}
    keys = ResultKeys(plan, {place: cache.digest for place, cache in caches.items()})
    network_of = {cache.digest: plan.node_of[place].key for place, cache in caches.items()}
    logits = [logit_cache.logits_of_table(caches[0, name].table) for name in plan.config.pool]
    problem = ensemble_problem(logits, plan.dataset.split_labels, plan.config.weights, "weigh")
    rows: dict[str, dict[int, Work]] = {}
    for trial in trials:
        student = keys.student(trial, weights_of(plan, keys, trial, problem))
        job = student_job(student, plan.config, store.uri)
        teachers = tuple(network_of[digest] for digest in student.cache_digests)
        rows.setdefault(trial.arm.label, {})[trial.seed] = Work(job, teachers)
    return rows


def weights_of(plan: Plan, keys: ResultKeys, trial: Trial, problem: Problem) -> tuple[float, ...]:
    """As the study would find them: on `weigh`, with the trial's seed."""
    if not trial.arm.is_searched:
        return control_weights(trial)
    result = run_search(problem, keys.search(trial), plan.config.weights)
    if isinstance(result, SearchFailure):
        raise UserError(result.reason)
    return tuple(result.weights.tolist())


def device_name(config: StudyConfig) -> str:
    if device_of(config.student.placement) == "cuda":
        return torch.cuda.get_device_name()
    precisions = resolve_precisions_here(config)
    precision = precisions["student"].precision if "student" in precisions else config.student.recipe.precision
    return f"{os.cpu_count()} CPU cores, {torch.backends.cpu.get_cpu_capability()}, {precision}"


if __name__ == "__main__":
    main()
