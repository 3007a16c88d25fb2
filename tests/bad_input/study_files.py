"""Study files with one thing wrong: types, ranges, names, rules between fields, and YAML that is none."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from tests.bad_input.wrong_input import WrongInput

_NET = {"model": {"name": "plain", "options": {"depth": 2}}, "recipe": {"epochs": 2, "batch_size": 8}}
BASE = {
    "study": {"name": "broken", "seeds": 2},
    "data": {"source": "digits", "max_train_images": 150},
    "splits": {"test": 0.2},
    "teacher": _NET,
    "assistants": {"big": _NET, "small": _NET},
    "student": _NET,
    "mlflow": {"enabled": False},
}

# Values that no field of a kind can have, as YAML.
_NO_NUMBER = ("many", ".nan", "[]", "{a: 1}", "2024-01-01")
_WRONG = {
    "count": (*_NO_NUMBER, ".inf", "-1", "0", "1.5", "1e400"),
    "whole": (*_NO_NUMBER, ".inf", "-1", "1.5"),
    "number": (*_NO_NUMBER, ".inf", "-1"),
    "positive": (*_NO_NUMBER, ".inf", "-1", "0"),
    "share": (*_NO_NUMBER, "0", "1", "-0.1"),
    "switch": ("maybe", "on", "no", "1", "2", "-1", ".nan", "[]", "{a: 1}", "null"),
    "choice": ("nonsense", "7", "true", "[]", "{a: 1}", "null", "''"),
    "text": ("7", "1.5", "true", "[]", "{a: 1}", "1e3"),
    "name": ("7", "[]", "''", "..", "../up", "a/b", "/root", "a b", ".hidden", '"a\\n"', '"a\\0"', "-x", "é", "x" * 64),
    "block": ("7", "nonsense", "[1]", "true", "{nonsense: 1}"),
    "seeds": ("true", "{a: 1}", "[[]]", "[1.5]", "[many]"),
    "list": ("7", "true", "{a: 1}", "[[]]", "[{a: 1}]"),
    "map": ("7", "nonsense", "[1]", "{1: 2}"),
}
_RECIPE = {
    "epochs": "count",
    "batch_size": "count",
    "optimizer": "choice",
    "lr": "positive",
    "momentum": "number",
    "nesterov": "switch",
    "weight_decay": "number",
    "schedule": "choice",
    "warmup_epochs": "number",
    "milestones": "list",
    "gamma": "positive",
    "label_smoothing": "number",
    "precision": "choice",
    "channels_last": "switch",
    "threads": "count",
}
_DISTILLATION = {
    "loss": "choice",
    "temperature": "positive",
    "alpha": "number",
    "ce_weight": "number",
    "standardize": "switch",
    "dkd_beta": "number",
    "dist_intra": "number",
}
_PLACEMENT = {"cpus": "number", "gpus": "number", "resources": "map", "labels": "map"}
_FIELDS = {
    "study": "block",
    "study.name": "name",
    "study.seed": "whole",
    "study.seeds": "seeds",
    "study.replicates": "count",
    "study.strategies": "list",
    "study.subsets": "list",
    "study.pool": "list",
    "study.pool_includes_teacher": "switch",
    "study.controls": "list",
    "study.primary": "block",
    "study.primary.strategy": "choice",
    "study.primary.against": "choice",
    "study.sweep": "map",
    "study.sweep_samples": "count",
    "study.halving": "block",
    "study.max_concurrent": "count",
    "data": "block",
    "data.source": "choice",
    "data.max_train_images": "count",
    "splits": "block",
    "splits.weigh": "share",
    "splits.choose": "share",
    "splits.test": "share",
    "splits.seed": "whole",
    "transform": "block",
    "transform.size": "count",
    "transform.channels": "choice",
    "transform.background": "whole",
    "transform.mean": "list",
    "transform.std": "list",
    "views": "block",
    "views.num": "count",
    "views.flip": "switch",
    "views.crop_padding": "whole",
    "views.seed": "whole",
    "teacher": "block",
    "assistants": "map",
    "student": "block",
    "weights": "block",
    "weights.objective": "choice",
    "weights.mixture": "choice",
    "weights.temperature": "positive",
    "weights.engine": "choice",
    "weights.max_evaluations": "count",
    "storage": "text",
    "mlflow": "block",
    "mlflow.enabled": "switch",
    "mlflow.tracking_uri": "text",
    "mlflow.experiment": "text",
    "mlflow.register_as": "text",
    "limits": "block",
    "limits.retries": "whole",
    "limits.silent_s": "positive",
    "limits.first_step_s": "positive",
    "limits.memory_share": "positive",
    "limits.checkpoint_s": "number",
    **{
        f"{network}.{part}": kind
        for network in ("teacher", "assistants.big", "student")
        for part, kind in {
            "model": "block",
            "model.name": "text",
            "model.options": "map",
            "recipe": "block",
            "distillation": "block",
            "placement": "block",
            **{f"recipe.{name}": kind for name, kind in _RECIPE.items()},
            **{f"distillation.{name}": kind for name, kind in _DISTILLATION.items()},
            **{f"placement.{name}": kind for name, kind in _PLACEMENT.items()},
        }.items()
    },
    "teacher.taught_by": "list",
    "assistants.big.taught_by": "list",
    "assistants.big.workers": "whole",
    "assistants.big.checkpoint": "text",
    "assistants.big.logits": "text",
}

# Fields that are right one by one, but not together, or not in this file: overrides, and what the line must name.
_RULES: tuple[tuple[str, str], ...] = (
    ("teacher.checkpoint=a.pt", "teacher.trained_on"),
    ("teacher.trained_on=other", "teacher.trained_on"),
    ("assistants.big.logits=a.npy", "assistants.big.trained_on"),
    ("student.distillation.loss=kdd", "student.distillation.loss"),
    ("student.checkpoint=a.pt", "student.checkpoint"),
    ("teacher.taught_by=[big]", "taught_by"),
    ("teacher.taught_by=[teacher]", "taught_by"),
    ("assistants.big.taught_by=[big]", "taught_by"),
    ("assistants.big.taught_by=[nobody]", "assistants.big.taught_by"),
    ("assistants.big.taught_by=[student]", "assistants.big.taught_by"),
    ("assistants.big.taught_by=[teacher, teacher]", "assistants.big.taught_by"),
    ("assistants.big.workers=[2, 1]", "assistants.big.workers"),
    ("assistants.big.workers=[0, 1]", "assistants.big.workers"),
    ("assistants.big.workers=[-1, -1]", "assistants.big.workers"),
    ("assistants.big.workers=[1, 100000]", "assistants.big.workers"),
    ("assistants.big.workers=5000", "assistants.big.workers"),
    ("assistants={}", "assistants"),
    ("assistants.teacher={}", "assistants.teacher"),
    ("assistants.student={model: {name: plain}}", "assistants.student"),
    ("assistants.../../etc={model: {name: plain}}", "assistants"),
    ('"assistants.a b"={model: {name: plain}}', "assistants"),
    ("assistants.x.model.name=null", "assistants.x.model.name"),
    ("assistants.x={}", "assistants.x.model"),
    ("teacher.model.name=''", "teacher.model.name"),
    ("study.pool=[nobody]", "study.pool"),
    ("study.subsets=all --set study.pool=[]", "study.pool"),
    ("study.sweep={student.recipe.lr: {uniform: [0, 1]}} --set study.sweep_samples=10001", "study.sweep_samples"),
    (
        "study.sweep={student.recipe.lr: {grid: "
        + str([1] * 200)
        + "}, student.recipe.gamma: {grid: "
        + str([1] * 200)
        + "}}",
        "study.sweep",
    ),
    ("assistants={" + ", ".join(f"a{i}: {{model: {{name: plain}}}}" for i in range(40)) + "}", "study.subsets"),
    ("study.pool=[big, big]", "study.pool"),
    ("study.subsets=[3]", "study.subsets"),
    ("study.subsets=[0]", "study.subsets"),
    ("study.subsets=[-1]", "study.subsets"),
    ("study.subsets=[[nobody]]", "study.subsets"),
    ("study.subsets=[[big, big]]", "study.subsets"),
    ("study.subsets=[[]]", "study.subsets"),
    ("study.subsets=some", "study.subsets"),
    ("study.seeds=[]", "study.seeds"),
    ("study.seeds=0", "study.seeds"),
    ("study.seeds=-3", "study.seeds"),
    ("study.seeds=[1, 1]", "study.seeds"),
    ("study.seeds=[2147483648]", "study.seeds"),
    ("study.seeds=1000000000000000000", "study.seeds"),
    ("study.seeds=true", "study.seeds"),
    ("study.seed=2147483648", "study.seed"),
    ("study.replicates=1001", "study.replicates"),
    ("study.strategies=[]", "study.strategies"),
    ("study.strategies=[de, de]", "study.strategies"),
    ("study.strategies=[differential]", "study.strategies"),
    ("study.controls=[none, none]", "study.controls"),
    ("study.controls=[nothing]", "study.controls"),
    ("study.primary={strategy: de, against: de}", "study.primary"),
    ("study.strategies=[uniform, greedy] --set study.primary={}", "study.primary.strategy"),
    ("study.strategies=[de, greedy] --set study.primary={}", "study.primary.against"),
    ("study.halving={min_epochs: 1}", "study.halving"),
    ("study.halving={}", "study.halving.min_epochs"),
    ("study.halving={min_epochs: 1, factor: 1}", "study.halving.factor"),
    ("study.sweep={teacher.recipe.lr: {grid: [1]}}", "teacher.recipe.lr"),
    ("study.sweep={student.recipe.lr: {}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.lr: {grid: []}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.lr: {grid: [-1]}}", "study.sweep"),
    ("study.sweep={student.recipe.lr: {grid: [high]}}", "study.sweep"),
    ("study.sweep={student.recipe.lr: {grid: [.nan]}}", "study.sweep"),
    ("study.sweep={student.recipe.lr: {grid: [1], uniform: [0, 1]}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.lr: {uniform: [2, 1]}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.lr: {uniform: [.nan, 1]}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.lr: {uniform: [0, .inf]}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.lr: {uniform: [1]}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.lr: {loguniform: [0, 1]}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.lr: {loguniform: [3, 1]}}", "student.recipe.lr"),
    ("study.sweep={student.recipe.rate: {grid: [1]}}", "student.recipe.rate"),
    ("study.sweep={student.recipe.lr: {grid: [2024-01-01]}}", "student.recipe.lr"),
    ("study.sweep={student.recipe: {grid: [1]}}", "student.recipe"),
    ("study.sweep={student.recipe.: {grid: [1]}}", "student.recipe."),
    ("study.sweep={student.recipe.epochs: {uniform: [1, 10]}}", "study.sweep"),
    ("study.sweep={student.recipe.momentum: {uniform: [0, 1]}}", "student.recipe.momentum.uniform.1"),
    ("study.sweep={student.recipe.optimizer: {uniform: [0, 1]}}", "student.recipe.optimizer.uniform.0"),
    ("study.sweep={student.recipe.optimizer: {grid: [sgd, adam]}}", "student.recipe.optimizer.grid.1"),
    ("study.sweep={student.recipe.milestones: {grid: [[0.5], [2]]}}", "student.recipe.milestones.grid.1"),
    ("study.sweep={student.distillation.loss: {grid: [kd, kdd]}}", "student.distillation.loss.grid.1"),
    ("study.sweep={student.distillation.alpha: {grid: [0.5, 2]}}", "study.sweep"),
    (
        "study.sweep={student.recipe.epochs: {grid: [2, 9]}, student.recipe.warmup_epochs: {grid: [1, 5]}}",
        "student.recipe.warmup_epochs",
    ),
    ("study.sweep_samples=1000000000000", "study.sweep_samples"),
    ("splits.weigh=0.5 --set splits.choose=0.5", "splits"),
    ("splits.weigh=1e-9", "splits.weigh"),
    ("splits.test=0.999999", "splits"),
    ("splits.test=null", "splits.test"),
    ("transform.size=3", "transform.size"),
    ("transform.size=100000", "transform.size"),
    ("transform.size=[8]", "transform.size"),
    ("transform.size=[8, 8, 8]", "transform.size"),
    ("transform.size=[0, 8]", "transform.size"),
    ("transform.size=[8, 99999]", "transform.size"),
    ("transform.background=256", "transform.background"),
    ("transform.mean=[2.0]", "transform.mean"),
    ("transform.mean=[.nan]", "transform.mean"),
    ("transform.mean=[0.5, 0.5]", "transform.mean"),
    ("transform.std=[0]", "transform.std"),
    ("transform.std=[.inf]", "transform.std"),
    ("views.num=1025", "views.num"),
    ("views.crop_padding=65", "views.crop_padding"),
    ("student.recipe.epochs=100001", "student.recipe.epochs"),
    ("student.recipe.momentum=1", "student.recipe.momentum"),
    ("student.recipe.label_smoothing=1", "student.recipe.label_smoothing"),
    ("student.recipe.gamma=1.5", "student.recipe.gamma"),
    ("student.recipe.milestones=[0.7, 0.3]", "student.recipe.milestones"),
    ("student.recipe.milestones=[0.5, 0.5]", "student.recipe.milestones"),
    ("student.recipe.milestones=[1.5]", "student.recipe.milestones"),
    ("student.recipe.warmup_epochs=2", "student.recipe.warmup_epochs"),
    ("student.recipe.nesterov=true --set student.recipe.momentum=0", "student.recipe.nesterov"),
    ("student.recipe.nesterov=true --set student.recipe.optimizer=adamw", "student.recipe.nesterov"),
    ("student.recipe.threads=257", "student.recipe.threads"),
    ("student.distillation.alpha=1.5", "student.distillation.ce_weight"),
    ("student.distillation={alpha: 0, ce_weight: 0}", "student.distillation.alpha"),
    ("student.placement.cpus=0", "student.placement.cpus"),
    ("student.placement.resources={tpu: 0}", "student.placement.resources"),
    ("student.placement.resources={tpu: -1}", "student.placement.resources"),
    ("student.placement.resources={tpu: .nan}", "student.placement.resources"),
    ("student.placement.labels={zone: [a]}", "student.placement.labels"),
    ("limits.memory_share=1.5", "limits.memory_share"),
    ("limits.retries=1001", "limits.retries"),
    ("mlflow.experiment=''", "mlflow.experiment"),
    ("student.workers=1", "student.workers"),
    ("student.taught_by=[teacher]", "student.taught_by"),
    ("data={source: cifar10, root: 7}", "data.root"),
    ("data={source: parquet}", "data.train"),
    ("data={source: parquet, train: []}", "data.train"),
    ("data={source: parquet, train: [7]}", "data.train"),
    ("data={source: parquet, train: a, image_column: 7}", "data.image_column"),
    ("data={source: folder}", "data.train"),
    ("data={source: folder, train: [a]}", "data.train"),
    ("data={source: callable}", "data.callable"),
    ("data={source: callable, callable: nothing}", "data.callable"),
    ("data={source: callable, callable: 'a:b:c'}", "data.callable"),
    ("data={source: callable, callable: 'a;b:c'}", "data.callable"),
    ("data={source: callable, callable: 'a:b', options: [1]}", "data.options"),
    ("data={train: a}", "data.source"),
    ("data={source: digits, max_test_images: 3}", "data.max_test_images"),
)
# Rules that need the data or the networks, so `validate`, which reads neither, does not see them.
_NEED_DATA = (
    "splits.weigh=",
    "splits.test=0.999999",
    "splits.test=null",
    "transform.mean=[",
    "transform.size=[0",
    "transform.size=[8, 99999]",
)

# Whole files that are no study file.
_FILES: dict[str, bytes] = {
    "empty": b"",
    "comment": b"# nothing here",
    "null": b"null",
    "number": b"7",
    "text": b"digits",
    "list": b"- study\n- data",
    "not UTF-8": b"study: \xff\xfe",
    "UTF-16": "study: {name: x}".encode("utf-16"),
    "a NUL": b"study: \x00",
    "binary": bytes(range(256)),
    "tab": b"study:\n\tname: x",
    "unclosed": b"study: {name: x",
    "unclosed quote": b'study: {name: "x}',
    "two documents": b"a: 1\n---\nb: 2",
    "a python object": b"study: !!python/object/apply:os.system ['touch owned']",
    "a python name": b"study: !!python/name:os.system",
    "an unknown tag": b"study: !study {name: x}",
    "an unknown alias": b"study: *nobody",
    "a key twice": b"study: {name: a, name: b}",
    "a network twice": b"assistants:\n  ta: {model: {name: plain}}\n  ta: {model: {name: resnet}}",
    "a list as key": b"? [a, b]\n: 1",
    "a map as key": b"? {a: b}\n: 1",
    "deep": b"[" * 1500,
    "deep and closed": b"study: " + b"[" * 1500 + b"]" * 1500,
    "a huge number": b"study: {name: x, seed: " + b"9" * 5000 + b"}",
    "a huge hexadecimal number": b"study: {name: x, seed: 0x" + b"f" * 5000 + b"}",
    "a wrong date": b"study: {name: 2024-13-45}",
    "wrong base64": b"study: {name: !!binary '====='}",
    "a NUL in text": b'study: {name: x}\nstorage: "a\\0b"',
    "half a character": b'study: {name: x}\nstorage: "\\ud800"',
    "itself": b"study: &s {name: x, sweep: *s}",
    "itself in a list": b"study: &s [*s]",
    "a billion laughs": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9))
    + b"study: {name: *j}",
    "a billion merges": b"a: &a {k: 1, l: 2, m: 3}\n"
    + b"".join(b"%c: &%c {<<: [%s]}\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9))
    + b"study: *j",
}


def wrong_inputs() -> Iterator[WrongInput]:
    """All of them."""
    base = yaml.safe_dump(BASE, sort_keys=False).encode()
    for field, kind in _FIELDS.items():
        for value in _WRONG[kind]:
            yield _changed("type", base, f"{field}={value}", _last(field))
    for block in ("", "study.", "data.", "splits.", "teacher.", "teacher.recipe.", "assistants.big.", "student.model."):
        yield _changed("unknown key", base, f"{block}nonsense=1", f"{block}nonsense")
    for override, says in _RULES:
        yield _changed("rule", base, override, says, "run" if override.startswith(_NEED_DATA) else "validate")
    for missing in ("study", "data", "teacher", "assistants", "student"):
        less = yaml.safe_dump({name: block for name, block in BASE.items() if name != missing}).encode()
        yield WrongInput(
            "missing", missing, ("validate", "study.yaml"), {"study.yaml": less}, (f"{missing}: is required",)
        )
    for what, content in _FILES.items():
        yield WrongInput("file", what, ("validate", "study.yaml"), {"study.yaml": content})
    for words in (("nowhere.yaml",), (".",), ("study.yaml/x",), ("x" * 300,)):
        yield WrongInput("file", f"no file {words[0][:20]!r}", ("validate", *words), {"study.yaml": base})
    for override in ("", "=", "=1", "study.seeds", "study.name.x=1", "teacher=1 --set teacher.model=2", "a=[", "a={"):
        yield _changed("override", base, override, "")


def _changed(kind: str, base: bytes, overrides: str, says: str, command: str = "validate") -> WrongInput:
    words = [word for override in overrides.split(" --set ") for word in ("--set", override)]
    quiet = ("--quiet",) if command == "run" else ()
    return WrongInput(kind, overrides[:100], (command, "study.yaml", *quiet, *words), {"study.yaml": base}, (says,))


def _last(field: str) -> str:
    return field.rpartition(".")[2]
