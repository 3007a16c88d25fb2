"""The model card of an exported student: Markdown that says what it is, how good, for what, and how to use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from wetakd.common.number_format import count_noun, format_bytes, format_magnitude, format_number, format_percent
from wetakd.config import STUDENT, StudentConfig, StudyConfig
from wetakd.config.yaml_text import write_yaml as write_yaml
from wetakd.data.dataset import Dataset
from wetakd.report.estimate_format import difference, mean_and_width
from wetakd.results import columns
from wetakd.results.arm_rows import ArmRow
from wetakd.results.display_names import recipe_label
from wetakd.results.findings import Findings, compute_findings
from wetakd.results.stored_results import Results
from wetakd.results.winner import Winner

_SPLITS = {
    "fit": "trained the networks",
    "weigh": "fitted the ensemble weights",
    "choose": "chose the winner",
    "test": "opened once, at the end",
}


@dataclass(frozen=True)
class OnnxFacts:
    """What was measured of the ONNX files, on the split test by onnxruntime on a CPU."""

    difference: float
    """Largest difference of a logit to torch's."""
    accuracy: float
    bytes: int
    int8_accuracy: float | None = None
    int8_bytes: int | None = None
    num_calibration: int = 0
    """Images of the split fit that int8's ranges come from."""


def model_card(
    config: StudyConfig, student: StudentConfig, dataset: Dataset, results: Results, onnx: OnnxFacts | None = None
) -> str:
    """The whole card; `results` have a winner, and `student` is its block at the winner's swept point."""
    return f"{student_description(config, student, dataset, results, onnx)}\n\n{_use(student, dataset, onnx)}\n"


def student_description(
    config: StudyConfig, student: StudentConfig, dataset: Dataset, results: Results, onnx: OnnxFacts | None = None
) -> str:
    """The card without the code that loads the files beside it."""
    assert results.winner is not None
    findings = compute_findings(results)
    parts = [
        _head(config.study.name, student, dataset, results.winner),
        _numbers(findings, results.winner, onnx),
        _data(config, dataset),
        _recipe(config, student, results.winner),
        _limits(findings, dataset),
    ]
    return "\n\n".join(parts)


def _head(study: str, student: StudentConfig, dataset: Dataset, winner: Winner) -> str:
    transform = dataset.transform
    num_classes = count_noun(dataset.num_classes, "class").replace("classs", "classes")
    return (
        f"# The student of study {study}\n\n"
        f"An image classifier, {_model_markdown(student.model.name, student.model.options)}, for "
        f"{num_classes}: uint8 images of {transform.channels} x {transform.height} x {transform.width} "
        "(channels x height x width) in, one logit a class out. It was trained "
        f"by wetakd and won the study as `{recipe_label(winner.strategy, winner.assistants, winner.point)}`, seed "
        f"{winner.seed}."
    )


def _model_markdown(name: str, options: Any) -> str:
    given = ", ".join(f"{option} {value}" for option, value in options.items())
    return f"`{name}` ({given})" if given else f"`{name}`"


def _numbers(findings: Findings, winner: Winner, onnx: OnnxFacts | None) -> str:
    results = findings.results
    row = next(row for row in findings.rows if row.is_winner)
    mine = results.trials[results.trials[columns.STUDENT_KEY] == winner.student_key].iloc[0]
    lines = [
        ("accuracy on `test`, %", format_percent(_value(mine, columns.STUDENT_TEST_ACCURACY))),
        (
            "accuracy on `test`, mean over the classes, %",
            format_percent(_value(mine, columns.STUDENT_TEST_MACRO_ACCURACY)),
        ),
        (
            "expected calibration error on `test`, points",
            format_percent(_value(mine, columns.STUDENT_TEST_CALIBRATION_ERROR)),
        ),
        ("negative log-likelihood on `test`, nats an image", format_number(_value(mine, columns.STUDENT_TEST_NLL))),
        ("the same recipe over all its seeds, % on `test`", mean_and_width(row.accuracy)),
    ]
    if row.versus_none is not None:
        lines.append(("… against students without distillation, points", difference(row.versus_none)))
    lines += _onnx_lines(onnx) if onnx else []
    cost = results.student_cost
    lines += [
        ("parameters", format_magnitude(cost.parameters)),
        ("multiply-accumulates an image", format_magnitude(cost.macs)),
        ("size of the float32 weights", format_bytes(cost.bytes)),
    ]
    if cost.latency_ms is not None:
        lines.append(("one image on one CPU thread, median, ms", f"{cost.latency_ms:.2f}"))
    table = "\n".join(f"| {name} | {value} |" for name, value in lines)
    return f"## Numbers\n\n| | |\n|---|---|\n{table}\n\nIntervals hold 95 %: Student's t over {_unit(row)}."


def _value(row: pd.Series[Any], column: str) -> float | None:
    return None if pd.isna(row[column]) else float(row[column])


def _unit(row: ArmRow) -> str:
    return count_noun(row.accuracy.num, row.accuracy.unit) if row.accuracy else "seeds"


def _onnx_lines(onnx: OnnxFacts) -> list[tuple[str, str]]:
    lines = [("`student.onnx`: accuracy on `test`, %", f"{format_percent(onnx.accuracy)} ({format_bytes(onnx.bytes)})")]
    if onnx.int8_accuracy is not None and onnx.int8_bytes is not None:
        value = f"{format_percent(onnx.int8_accuracy)} ({format_bytes(onnx.int8_bytes)})"
        lines.append(("`student.int8.onnx`: accuracy on `test`, %", value))
    return lines


def _data(config: StudyConfig, dataset: Dataset) -> str:
    splits = "\n".join(
        f"| {name} | {len(getattr(dataset.splits, name)):,} | {does} |" for name, does in _SPLITS.items()
    )
    names = ", ".join(dataset.class_names[:20]) + (", …" if dataset.num_classes > 20 else "")
    mean, std = ([round(value, 4) for value in values] for values in (dataset.transform.mean, dataset.transform.std))
    return (
        f"## Data\n\nSource `{config.data.source}`, SHA-256 of pixels, labels and splits "
        f"`{dataset.fingerprint[:16]}…`.\n"
        f"Classes, in the order of the logits: {names}.\n\n| split | images | |\n|---|---|---|\n{splits}\n\n"
        f"The model normalises by itself: pixels / 255, less {mean}, over {std}, a value a channel."
    )


def _recipe(config: StudyConfig, student: StudentConfig, winner: Winner) -> str:
    weights = dict(zip(winner.assistants, winner.weights or (), strict=False))
    mixture = ", ".join(f"{name} {weight:.3f}" for name, weight in weights.items())
    networks = "\n".join(_network_line(config, name) for name in config.networks)
    taught = f"the mixture {mixture}" if len(weights) > 1 else "".join(weights) or "the labels alone"
    blocks = {"recipe", "distillation"} if mixture else {"recipe"}
    block = write_yaml(student.model_dump(mode="json", include=blocks), flow_style=None)
    return (
        f"## Recipe\n\n| network | model | taught by |\n|---|---|---|\n{networks}\n"
        f"| {STUDENT} | {_model_markdown(student.model.name, student.model.options)} | {taught} |\n\n"
        f"The student was trained so:\n\n```yaml\n{block}```"
    )


def _network_line(config: StudyConfig, name: str) -> str:
    model = config.networks[name].model
    return f"| {name} | {_model_markdown(model.name, model.options)} | {'+'.join(config.teachers_of(name)) or '–'} |"


def _limits(findings: Findings, dataset: Dataset) -> str:
    items = [
        "The numbers hold for images drawn as these were. Nothing was measured on other images: not under noise, blur "
        "or change of place and time, and not for groups of people or things that the labels do not name.",
        "It always names one of its classes. An image of something else gets one of them too.",
        f"The winner is the best of {count_noun(len(findings.rows), 'recipe')} on `choose`, so its accuracy there is "
        "too good to be true; the numbers above are of `test`.",
    ]
    if findings.num_replicates == 1:
        items.append("Teacher and assistants were trained once: the interval says nothing about other ones.")
    smallest = min(int((dataset.labels_N[dataset.splits.test] == c).sum()) for c in range(dataset.num_classes))
    items.append(
        f"`test` has {len(dataset.splits.test):,} images, {smallest:,} of the rarest class: the numbers are no finer."
    )
    return "## Limits\n\n" + "\n".join(f"- {item}" for item in items)


def _use(student: StudentConfig, dataset: Dataset, onnx: OnnxFacts | None) -> str:
    transform = dataset.transform
    trusted = ", trust_code=True" if student.model.is_function else ""
    shape = f"(1, {transform.channels}, {transform.height}, {transform.width})"
    blocks = [
        (
            "In torch, with wetakd installed (`student.safetensors` holds the weights alone, for use without it):",
            f"import numpy as np, torch\nfrom wetakd.export import load_student\n\n"
            f'student = load_student("."{trusted})\nimages = torch.from_numpy(np.zeros({shape}, np.uint8))\n'
            "# of a file: student.transform.prepare(PIL.Image.open(path))[None]\nprint(student(images).argmax(1))",
        ),
        (
            "By MLflow, without wetakd; `mlflow models serve -m mlflow` serves it:",
            f'import mlflow, numpy as np\n\nmodel = mlflow.pyfunc.load_model("mlflow")\n'
            f"print(model.predict(np.zeros({shape}, np.uint8)).argmax(1))",
        ),
    ]
    if onnx is not None:
        checked = f"its logits differ from torch's by at most {onnx.difference:.1e}"
        blocks.append(
            (
                f"By onnxruntime, in batches of any size ({checked}):",
                f'import numpy as np, onnxruntime\n\nsession = onnxruntime.InferenceSession("student.onnx")\n'
                f'(logits,) = session.run(["logits"], {{"images": np.zeros({shape}, np.uint8)}})\n'
                "print(logits.argmax(1))",
            )
        )
    text = "\n\n".join(f"{words}\n\n```python\n{code}\n```" for words, code in blocks)
    if onnx is not None and onnx.int8_accuracy is not None:
        text += (
            f"\n\n`student.int8.onnx` is used alike. Its ranges come from {onnx.num_calibration} images of `fit`; how "
            "fast it is depends on the processor, so measure it where it will run."
        )
    return f"## Use\n\nIn the folder of this file:\n\n{text}"
