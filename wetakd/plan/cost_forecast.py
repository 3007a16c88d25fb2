"""What a study would do and cost, said before any of it runs: the command `wetakd plan`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from wetakd.cluster.capacity import num_workers, worker_resources
from wetakd.common.number_format import NO_VALUE, format_bytes, format_magnitude
from wetakd.config import STUDENT, NetworkConfig, PlacementConfig, StudentConfig, block_of
from wetakd.logits import logit_cache
from wetakd.models.cost import measure_cost
from wetakd.models.registry import input_shape, new_model
from wetakd.plan.result_keys import ResultKeys
from wetakd.plan.study_plan import Plan
from wetakd.plan.trials import Trial
from wetakd.storage.addresses import network_address, student_address
from wetakd.storage.atomic_store import Store


@dataclass(frozen=True)
class NetworkForecast:
    """One network of the graph, over all replicates."""

    name: str
    taught_by: tuple[str, ...]
    parameters: int | None
    """None where only its logits are known."""
    macs: int | None
    epochs: int
    asks_for: str
    num_found: int
    num_total: int


@dataclass(frozen=True)
class Forecast:
    """What a study consists of, what storage holds of it, and what the rest costs.

    Bytes are of the object store; passes are images through a network.
    """

    study: str
    num_images: dict[str, int]
    dataset_bytes: int
    networks: tuple[NetworkForecast, ...]
    student: NetworkForecast
    num_arms: int
    num_trials: int
    declared: tuple[str, str] | None
    """The declared contrast: a strategy, and what it is compared with."""
    num_searches: int
    num_students_found: int
    """Distinct ones; those whose weights are not searched yet cannot be looked for."""
    cache_bytes: int
    cache_passes: int
    naive_passes: int
    """Of a loop that asks its teachers at every step, if no two students are equal and none is stopped early."""
    hints: tuple[str, ...]
    """Settings that are valid, but waste CPUs."""

    @property
    def text(self) -> str:
        """Everything, in 80 columns."""
        images = ", ".join(f"{split} {count:,}" for split, count in self.num_images.items())
        lines = [
            f"Study {self.study}",
            f"  images    {images} ({format_bytes(self.dataset_bytes)} in the object store)",
            "",
            f"  {'network':<14}{'parameters':>12}{'MACs':>9}{'epochs':>8}  {'found':<7}asks for",
            *(self._row(network) for network in (*self.networks, self.student)),
            "",
            f"  networks  {sum(n.num_total - n.num_found for n in self.networks)} to train, "
            f"{sum(n.num_found for n in self.networks)} found on storage",
            f"  logits    {format_bytes(self.cache_bytes)} in the object store, "
            f"{self.cache_passes:,} forward passes, once",
            f"  weights   at most {self.num_searches:,} searches",
            f"  students  {self.num_trials:,} trials of {self.num_arms:,} recipes; equal students train once; "
            f"{self.num_students_found:,} found",
            f"  declared  {self._declared}",
            f"  saved     at most {self.naive_passes:,} passes of teacher and assistants, which",
            "            a loop that asks them anew at every step would need",
            *(line for hint in self.hints for line in _wrapped("hint", hint)),
        ]
        return "\n".join(lines)

    @property
    def _declared(self) -> str:
        if self.declared is None:
            return "no contrast: study.primary is not set, and de or uniform is not run"
        return f"the contrast of {self.declared[0]} against {self.declared[1]}"

    @staticmethod
    def _row(network: NetworkForecast) -> str:
        found = f"{network.num_found}/{network.num_total}" if network.num_total else "-"
        parameters = NO_VALUE if network.parameters is None else f"{network.parameters:,}"
        row = f"  {network.name:<13} {parameters:>11} {format_magnitude(network.macs):>8} {network.epochs:>7}"
        return f"{row}  {found:<6} {network.asks_for}"


def forecast(plan: Plan, store: Store) -> Forecast:
    """Look at storage and count; trains nothing."""
    config, dataset = plan.config, plan.dataset
    num_views = config.views.num
    names = config.networks
    return Forecast(
        study=config.study.name,
        num_images={split: len(getattr(dataset.splits, split)) for split in ("fit", "weigh", "choose", "test")},
        dataset_bytes=dataset.images_NCHW.nbytes + dataset.labels_N.nbytes,
        networks=tuple(_network(plan, store, name, network) for name, network in names.items()),
        student=_measure(plan, "student", config.student, (), _placement_text(config.student, 1), 0, 0),
        num_arms=len(plan.arms),
        num_trials=len(plan.trials),
        declared=config.study.declared,
        num_searches=sum(trial.arm.is_searched for trial in plan.trials),
        num_students_found=_num_students_found(plan, store),
        cache_bytes=len(plan.nodes) * logit_cache.num_cache_bytes(dataset, num_views),
        cache_passes=sum(node.config.logits is None for node in plan.nodes)
        * logit_cache.num_cache_rows(dataset, num_views),
        hints=tuple(_hints(plan)),
        naive_passes=sum(_num_teacher_epochs(plan, trial) for trial in plan.trials) * len(dataset.splits.fit),
    )


def _num_teacher_epochs(plan: Plan, trial: Trial) -> int:
    return len(trial.arm.assistants) * plan.student_config(trial.arm.point).recipe.epochs


def _num_students_found(plan: Plan, store: Store) -> int:
    keys = ResultKeys.stored(store, plan)
    students = {student.key for trial in plan.trials if (student := keys.stored_student(store, trial)) is not None}
    return sum(store.find(student_address(key)) is not None for key in students)


def _hints(plan: Plan) -> Iterator[str]:
    """Networks whose workers have more CPUs than threads, or the reverse."""
    for name, network in plan.config.networks.items():
        if not network.is_imported:
            yield from _threads_hint(block_of(name), network.placement, [network.recipe.threads])
    swept = [plan.student_config(point).recipe.threads for point in plan.points]
    yield from _threads_hint(STUDENT, plan.config.student.placement, swept)


def _wrapped(head: str, text: str) -> list[str]:
    indent = " " * 12
    return textwrap.wrap(text, 80, initial_indent=f"  {head:<10}", subsequent_indent=indent, break_on_hyphens=False)


def _threads_hint(block: str, placement: PlacementConfig, threads: Sequence[int]) -> Iterator[str]:
    cpus, most = placement.cpus, max(threads)
    fields = f"{block}.placement.cpus is {cpus:g}, {block}.recipe.threads"
    if most > max(cpus, 1):
        yield f"{fields} {most}: threads share CPUs"
    elif math.floor(cpus) > most and not placement.gpus:
        yield f"{fields} {most}: idle CPUs of each worker: {cpus - most:g}"


def _network(plan: Plan, store: Store, name: str, network: NetworkConfig) -> NetworkForecast:
    # What is brought along is not to be trained, and may or may not have been copied to storage yet.
    keys = {node.key for node in plan.nodes if node.name == name and not network.is_imported}
    found = sum(store.find(network_address(key)) is not None for key in keys)
    shown = _placement_text(network, num_workers(network))
    return _measure(plan, name, network, plan.config.teachers_of(name), shown, found, len(keys))


def _measure(
    plan: Plan, name: str, network: StudentConfig, taught_by: Iterable[str], asks_for: str, found: int, total: int
) -> NetworkForecast:
    if isinstance(network, NetworkConfig) and network.logits:
        return NetworkForecast(name, (), None, None, 0, "nothing: logits are given", found, total)
    needs = measure_cost(new_model(network.model, plan.dataset, seed=0), input_shape(plan.dataset))
    return NetworkForecast(
        name, tuple(taught_by), needs.parameters, needs.macs, _epochs(network), asks_for, found, total
    )


def _epochs(network: StudentConfig) -> int:
    return 0 if isinstance(network, NetworkConfig) and network.is_imported else network.recipe.epochs


def _placement_text(network: StudentConfig, workers: int) -> str:
    asked = ", ".join(f"{amount:g} {name}" for name, amount in worker_resources(network.placement).items())
    return asked if workers == 1 else f"{workers} x {asked}"
