"""Keys: what is in them, what a new field changes, and a golden file of keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from tests.unit.tiny import dataset
from wetakd.config import (
    DistillationConfig,
    ModelConfig,
    RecipeConfig,
    StudyConfig,
    ViewsConfig,
    WeightsConfig,
)
from wetakd.config.study_file import load_study_file
from wetakd.plan.key_payloads import (
    cache_payload,
    evaluation_payload,
    settings,
)
from wetakd.plan.result_keys import ResultKeys, cache_key, evaluation_key
from wetakd.plan.study_plan import Plan, control_weights
from wetakd.storage.manifest import BlobRef, Manifest

GOLDEN = Path(__file__).with_name("golden_keys.json")
BLOCKS = (RecipeConfig, DistillationConfig, ViewsConfig, WeightsConfig, ModelConfig)


def network_manifest(digest: str) -> Manifest:
    return Manifest("networks/k", {"weights.safetensors": BlobRef("w", 1, digest)}, {}, {})


def keys_of(config: StudyConfig) -> dict[str, str]:
    """Keys of every kind for a study of the embedded file, with invented digests of caches and weights."""
    plan = Plan(config, replace(dataset(), fingerprint="golden"))
    digests = {(node.replicate, node.name): f"digest of {node.name}" for node in plan.nodes}
    keys = ResultKeys(plan, digests)
    found = {f"network {node.name}": node.key for node in plan.nodes}
    found |= {f"cache {node.name}": cache_key(node, network_manifest("weights")) for node in plan.nodes}
    found["contributions"] = keys.contributions(0).key
    for trial in plan.trials[:: len(plan.config.study.seeds)]:
        student = keys.student(trial, control_weights(trial))
        found[f"student {trial.arm.label}"] = student.key
        found[f"evaluation {trial.arm.label}"] = evaluation_key(student.key, network_manifest("weights"), plan.dataset)
        if trial.arm.is_searched:
            found[f"search {trial.arm.label}"] = keys.search(trial).key
    return found


def test_the_keys_of_the_embedded_study_are_those_of_the_golden_file() -> None:
    """Where this fails, results that are stored would be computed again: raise the version of each kind that changes.

    A changed default is a change of what a payload means: raise the versions then, too. Then write the file again:
    `python -m tests.unit.plan.test_key_payloads`.
    """
    assert golden() == json.loads(GOLDEN.read_text())


def golden() -> dict[str, Any]:
    defaults = {
        block.__name__: {
            name: field.get_default(call_default_factory=True)
            for name, field in block.model_fields.items()
            if not field.is_required()
        }
        for block in BLOCKS
    }
    content: dict[str, Any] = json.loads(
        json.dumps({"defaults": defaults, "keys": keys_of(load_study_file(None))}, default=list)
    )
    return content


class WiderRecipe(RecipeConfig):
    """A recipe as a later version may have it."""

    ema: float = Field(0.0, description="decay of averaged weights")


class WiderWeights(WeightsConfig):
    """Weights as a later version may have them."""

    calibrate: bool = Field(False, description="one temperature for each network")


def widened(config: StudyConfig, **values: Any) -> StudyConfig:
    """The config with blocks that have one field more."""
    recipe = WiderRecipe(**config.teacher.recipe.model_dump(), **values)
    weights = WiderWeights(**config.weights.model_dump())
    teacher = config.teacher.model_copy(update={"recipe": recipe})
    return config.model_copy(update={"teacher": teacher, "weights": weights})


def test_a_new_field_with_a_default_changes_no_key() -> None:
    config = load_study_file(None)
    assert keys_of(widened(config)) == keys_of(config)
    other = keys_of(widened(config, ema=0.9))
    assert other["network teacher"] != keys_of(config)["network teacher"]


def test_settings_leave_out_what_is_at_its_default() -> None:
    assert settings(RecipeConfig()) == {}
    assert settings(RecipeConfig(lr=0.1, epochs=3)) == {"epochs": 3}


def test_caches_and_evaluations_belong_to_the_very_weights() -> None:
    one, other = network_manifest("one"), network_manifest("other")
    assert cache_payload("k", one) != cache_payload("k", other)
    assert evaluation_payload("k", one, data="d") != evaluation_payload("k", other, data="d")


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), indent=1, sort_keys=True) + "\n")
