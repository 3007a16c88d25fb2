"""One registry of strategies: study files, reports and documentation all have its names."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from tests.documentation_pages import PAGES
from tests.unit.tiny import dataset
from wetakd.common.errors import UserError
from wetakd.config import StudyConfig
from wetakd.config.study_file import load_study_file
from wetakd.plan.study_plan import Plan
from wetakd.report.plot_style import colour_of
from wetakd.results.winner import STRATEGY_ORDER
from wetakd.weights import STRATEGIES

DEFAULT = ("uniform", "random", "random_search", "de", "greedy", "convex")


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_study_file_may_name_every_strategy(name: str) -> None:
    config = load_study_file(None, [f"study.strategies=[{name}]", "study.primary=null"])
    assert {arm.strategy for arm in Plan(config, dataset()).arms if arm.is_searched} == {name}


def test_a_study_that_names_none_compares_those_that_no_control_repeats() -> None:
    tree = load_study_file(None).model_dump(mode="json")
    del tree["study"]["strategies"]
    assert StudyConfig.model_validate(tree).study.strategies == DEFAULT
    assert set(STRATEGIES) - set(DEFAULT) == {"best_single"}


def test_an_unknown_strategy_is_told_all_names() -> None:
    with pytest.raises(UserError) as caught:
        load_study_file(None, ["study.strategies=[magic]"])
    assert all(repr(name) in str(caught.value) for name in STRATEGIES)


def test_reports_show_every_strategy_in_the_order_of_the_registry_in_a_colour_of_its_own() -> None:
    assert [name for name in STRATEGY_ORDER if name in STRATEGIES] == list(STRATEGIES)
    colours = [colour_of(name) for name in (*STRATEGY_ORDER, "a strategy of another package")]
    assert len(set(colours)) == len(colours)


def test_the_pages_name_every_strategy() -> None:
    table = (PAGES / "weights.md").read_text().partition("## Strategies")[2].partition("\n\n`objective`")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE) == list(STRATEGIES)
    template = files("wetakd.commands").joinpath("study_template.yaml").read_text(encoding="utf-8")
    (line,) = re.findall(r"# strategies: \[(.*)\]", template)
    assert tuple(line.split(", ")) == DEFAULT
