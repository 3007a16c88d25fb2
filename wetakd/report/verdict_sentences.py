"""The verdict in words: what the statistics show, how surely, and never more.

A difference is "shown" only where its test stands at 5 % (after Holm's correction, but for the declared contrast).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wetakd.common.number_format import (
    count_noun,
    format_bytes,
    format_magnitude,
    format_percent,
    format_points,
    format_seconds,
)
from wetakd.report.estimate_format import difference
from wetakd.results import columns
from wetakd.results.assistant_contributions import AssistantContribution
from wetakd.results.contrasts import SIGNIFICANCE_LEVEL, Contrast, CountRow
from wetakd.results.cost_records import NetworkCost
from wetakd.results.display_names import display_name
from wetakd.results.ensemble_student_correlation import EnsembleStudentCorrelation
from wetakd.results.findings import Findings
from wetakd.results.statistics import MOST_SEEDS, POWER, Estimate, detectable_effect

# Up to so many units the verdict says how little they prove.
_FEW_SEEDS = 5


@dataclass(frozen=True)
class Statement:
    """One question and its answer, with the single results below it."""

    question: str
    answer: str
    items: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {"question": self.question, "answer": self.answer, "items": list(self.items)}


def verdict(findings: Findings) -> tuple[Statement, ...]:
    """Every statement, the declared contrast first."""
    statements = (
        _declared_statement(findings),
        _power_statement(findings),
        _random_statement(findings),
        _strategies_statement(findings),
        _controls_statement(findings),
        _counts_statement(findings),
        _contributions_statement(findings),
        _correlations_statement(findings),
        _search_gain_statement(findings),
        _winner_statement(findings),
        _spending_statement(findings),
        _failures_statement(findings),
    )
    return tuple(statement for statement in statements if statement is not None)


def _scope_text(findings: Findings) -> str:
    if findings.num_replicates > 1:
        return f"over {findings.num_replicates} replicates of teacher and assistants"
    return "for these assistants"


def _full_sentence(contrast: Contrast, findings: Findings) -> str:
    """One contrast in full."""
    found = contrast.difference
    if found is None:
        return f"{contrast.name}: not compared, for {contrast.why_not}."
    scope = "" if findings.num_replicates > 1 else f", {_scope_text(findings)}"
    head = f"{contrast.name}: {difference(found)} points, {count_noun(found.num, found.unit)}{scope}"
    return f"{head}: {_significance_text(contrast, found)}{_needed_text(found, contrast)}."


def _short_sentence(name: str, contrast: Contrast) -> str:
    """One contrast in short."""
    found = contrast.difference
    if found is None:
        return f"{name}: not compared, for {contrast.why_not}"
    return f"{name}: {difference(found)}, {_significance_text(contrast, found)}"


def _significance_text(contrast: Contrast, found: Estimate) -> str:
    if found.num < 2:
        return f"one {found.unit} gives no interval, so nothing can be told"
    if found.p_value is None:
        same = "no difference at all" if found.mean == 0 else "the very same difference"
        return f"{same} at every {found.unit}, which gives no interval: nothing can be told"
    if contrast.is_significant:
        return (
            f"a difference is shown, {'better' if found.mean > 0 else 'worse'} ({_p_value_text(contrast.corrected_p)})"
        )
    return "no difference shown after correction" if found.p_value < SIGNIFICANCE_LEVEL else "no difference shown"


def _needed_text(found: Estimate, contrast: Contrast) -> str:
    if contrast.is_significant or found.p_value is None:
        return ""
    if found.num_needed is None:
        return f"; more than {MOST_SEEDS:,} {found.unit}s would be needed to tell one of this size"
    if found.num_needed <= found.num:
        return ""
    return f"; about {count_noun(found.num_needed, found.unit)} would be needed to tell one of this size"


def _p_value_text(value: float | None) -> str:
    return "p unknown" if value is None else "p<0.001" if value < 0.001 else f"p={value:.3f}"


def _declared_statement(findings: Findings) -> Statement:
    question, declared = "The declared contrast", findings.primary
    if declared is None:
        return Statement(question, "There is none: `study.primary` is not set, and the study lacks `de` or `uniform`.")
    return Statement(question, _full_sentence(declared, findings))


def _power_statement(findings: Findings) -> Statement:
    """What so many units can find at all."""
    several = findings.num_replicates > 1
    num, unit = (findings.num_replicates, "replicate") if several else (findings.num_seeds, "seed")
    parts = []
    if num < 2:
        parts.append(f"One {unit} proves nothing: there is no spread to hold a difference against.")
    else:
        few = f"{num} {unit}s prove little: a" if num <= _FEW_SEEDS else "A"
        parts.append(
            f"{few} paired t test on {num} finds a difference, {100 * POWER:.0f} % of the time, only where it is at "
            f"least {detectable_effect(num):.1f} times its own spread from {unit} to {unit}."
        )
    if not several:
        parts.append("Teacher and assistants were trained once, so all of this holds for these networks only.")
    corrected = sum(contrast.corrected_p is not None for contrast in findings.contrasts if contrast.topic != "primary")
    if corrected > 1:
        beside = " beside the declared one" if findings.primary else ""
        parts.append(f"The {corrected} contrasts{beside} are corrected together (Holm).")
    return Statement("How sure", " ".join(parts))


def _contrasts_of_topic(findings: Findings, topic: str) -> list[Contrast]:
    return [contrast for contrast in findings.contrasts if contrast.topic == topic]


def _random_statement(findings: Findings) -> Statement | None:
    chosen = _contrasts_of_topic(findings, "random")
    return Statement("DE against random weights", _full_sentence(chosen[0], findings)) if chosen else None


def _strategies_statement(findings: Findings) -> Statement | None:
    chosen = _contrasts_of_topic(findings, "strategy")
    if not chosen:
        return None
    head = f"Over {'+'.join(findings.results.pool)} against {chosen[0].worse}, in points:"
    return Statement(
        "The other strategies", head, tuple(_short_sentence(contrast.better, contrast) for contrast in chosen)
    )


def _controls_statement(findings: Findings) -> Statement | None:
    chosen = _contrasts_of_topic(findings, "control")
    if not chosen:
        return None
    head = f"{chosen[0].better}, in points, against"
    items = tuple(_short_sentence(contrast.name.split(" against ", 1)[1], contrast) for contrast in chosen)
    return Statement("Against the controls", head, items)


def _counts_statement(findings: Findings) -> Statement | None:
    """Steps of the main strategy's counts, and the fewest beyond which nothing is shown to help."""
    strategy = findings.main_strategy
    rows = [row for row in findings.counts if row.strategy == strategy and row.accuracy is not None]
    steps = _contrasts_of_topic(findings, "count")
    if strategy is None or len(rows) < 2 or not steps:
        return None
    items = tuple(_short_sentence(f"{step.better} against {step.worse}", step) for step in steps)
    head = f"{_enough_assistants_text(rows, steps)} Within nested subsets under {display_name(strategy)}, in points:"
    return Statement("How many assistants are enough", head, items)


def _enough_assistants_text(rows: Sequence[CountRow], steps: Sequence[Contrast]) -> str:
    helped = [
        int(step.better) for step in steps if step.is_significant and step.difference and step.difference.mean > 0
    ]
    most = rows[-1].count
    if helped and max(helped) == most:
        return f"The step to {most} is shown to help, so more might help still."
    enough = max(helped, default=rows[0].count)
    return f"No gain is shown beyond {count_noun(enough, 'assistant')}, which does not show that there is none."


def _contributions_statement(findings: Findings) -> Statement | None:
    known = [c for c in findings.contributions if c.shapley is not None or c.leave_one_out is not None]
    if len(known) < 2:
        return None
    top = max(known, key=_added_accuracy)
    parts = []
    if top.shapley is not None:
        others = ", ".join(f"{c.name} {format_percent(_added_accuracy(c))}" for c in known if c is not top)
        parts.append(f"its Shapley share is {format_percent(top.shapley.mean)} points of accuracy ({others})")
    if top.leave_one_out is not None:
        lost = top.leave_one_out.mean
        parts.append(f"without it the ensemble {'loses' if lost >= 0 else 'gains'} {format_percent(abs(lost))} points")
    ensemble = f"{top.name} adds most to the evenly mixed ensemble on `weigh`: {'; '.join(parts)}."
    return Statement("Which assistant carries the mixture", f"{ensemble} {_student_loss_text(top)}".strip())


def _added_accuracy(contribution: AssistantContribution) -> float:
    value = contribution.shapley or contribution.leave_one_out
    return value.mean if value else 0.0


def _student_loss_text(top: AssistantContribution) -> str:
    loss = top.student_loss
    if loss is None:
        return ""
    if loss.low is None:
        return f"For the students: with it less without it {difference(loss)} points, which has no interval."
    verb = "The students need it too" if loss.low > 0 else "For the students that is not shown"
    return f"{verb}: with it less without it {difference(loss)} points (interval not corrected)."


def _correlations_statement(findings: Findings) -> Statement | None:
    if len(findings.rows) < 2:
        return None
    question = "Did a better ensemble teach better"
    overall = [relation for relation in findings.correlations if not relation.where]
    if not overall:
        return Statement(question, "There are too few recipes with different ensembles to say.")
    pool = findings.results.pool
    full = [relation for relation in findings.correlations if set(relation.where) == set(pool)]
    items = [_correlation_text("all", relation) for relation in overall] + [
        _correlation_text(f"over {'+'.join(pool)}", p) for p in full
    ]
    head = "Rank correlation of the ensemble's quality on `choose` with its students' test accuracy"
    note = "recipes share assistants, so the p values are on the bold side"
    return Statement(question, f"{head} ({note}):", tuple(items))


def _correlation_text(where: str, relation: EnsembleStudentCorrelation) -> str:
    found = relation.correlation
    span = "" if found.low is None or found.high is None else f" [{found.low:+.2f}, {found.high:+.2f}]"
    if found.p_value >= 0.05:
        answer = "no relation shown"
    else:
        answer = "yes" if found.rho > 0 else "the better ensembles taught worse"
    head = f"{relation.measure}, {where} ({count_noun(found.num, 'recipe')})"
    return f"{head}: rho {found.rho:+.2f}{span}, {_p_value_text(found.p_value)}: {answer}"


def _search_gain_statement(findings: Findings) -> Statement | None:
    """What the main strategy's search gained on images that it had not seen."""
    results = findings.results
    chosen = [
        row
        for row in findings.rows
        if row.arm.strategy == findings.main_strategy and set(row.arm.assistants) == set(results.pool)
    ]
    if not chosen or chosen[0].crossfit_gain is None or chosen[0].crossfit_error is None:
        return None
    gain, error = chosen[0].crossfit_gain, chosen[0].crossfit_error
    head = (
        f"Cross-fitted on `weigh`, {chosen[0].arm.label} gains {format_points(gain)} ± {format_percent(error)} points"
    )
    words = f"{head} of ensemble accuracy over even weights (± one standard error): {gain_text(gain, error)}."
    return Statement("Honest gain of the search", words)


def gain_text(gain: float, error: float) -> str:
    """How far a cross-fitted gain can be believed: within two standard errors it is within its error."""
    if gain == error == 0:
        return "the same as even weights"
    if abs(gain) <= 2 * error:
        return "within its error, so none is shown"
    return "beyond its error, a real gain" if gain > 0 else "beyond its error, a real loss"


def _winner_statement(findings: Findings) -> Statement:
    question, winner = "The winner and its cost", findings.results.winner
    if winner is None:
        return Statement(question, "No student was finished, so there is no winner.")
    row = next((row for row in findings.rows if row.is_winner), None)
    label = row.arm.label if row else winner.strategy
    point = "" if winner.point.is_empty else f" at {winner.point.label}"
    tested = f", {format_percent(row.accuracy.mean)} % on `test`" if row and row.accuracy else ""
    chosen = (
        f"{label}{point}, chosen on `choose`: {format_percent(winner.mean_choose_accuracy)} % there{tested} (means)"
    )
    which = (
        f"replicate {winner.replicate}, seed {winner.seed}" if findings.num_replicates > 1 else f"seed {winner.seed}"
    )
    student, teacher = findings.results.student_cost, findings.results.teacher_cost
    return Statement(
        question,
        f"{chosen}. Its student of {which} ships: {_cost_text(student)}"
        + (f"; the teacher: {_cost_text(teacher)}." if teacher else "."),
    )


def _cost_text(cost: NetworkCost) -> str:
    latency = f", {cost.latency_ms:.2f} ms an image on one thread of this CPU" if cost.latency_ms is not None else ""
    size = f"{format_magnitude(cost.parameters)} parameters, {format_magnitude(cost.macs)} MACs"
    return f"{size}, {format_bytes(cost.bytes)}{latency}"


def _spending_statement(findings: Findings) -> Statement:
    spent, trials = findings.results.spending, findings.results.trials
    num_students = trials.loc[trials[columns.ERROR].isna(), columns.STUDENT_KEY].nunique()
    students = count_noun(num_students, "student")
    parts = [
        f"In core-seconds: networks {format_seconds(spent.network_core_seconds)}, searches "
        f"{format_seconds(spent.search_core_seconds)}, {students} {format_seconds(spent.student_core_seconds)}."
    ]
    if spent.network_gpu_seconds is not None:
        parts.append(
            f"In GPU-seconds: networks {format_seconds(spent.network_gpu_seconds)}, "
            f"{students} {format_seconds(spent.student_gpu_seconds)}."
        )
    if spent.usual_passes > spent.bank_passes:
        parts.append(
            f"Teacher and assistants looked at {spent.bank_passes:,} images, once; a loop that asks them anew at every "
            f"step would have shown them {spent.usual_passes:,} for the same students."
        )
    return Statement("What the study took", " ".join(parts))


def _failures_statement(findings: Findings) -> Statement | None:
    failures = findings.failures
    return Statement("What failed", f"{failures.summary}:", tuple(failures.lines())) if failures else None
