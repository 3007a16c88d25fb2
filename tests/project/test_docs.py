"""Documentation: its examples work, its links lead somewhere, and the reference is that of the code."""

import re
from pathlib import Path

import pytest

from tests.documentation_pages import PAGES, ROOT, follow
from wetakd.commands.reference_page import reference

FAST = ("model", "data", "loss", "checkpoint", "logits")


@pytest.mark.parametrize("name", FAST)
def test_the_examples_of_a_page_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WETAKD_STORAGE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    told = list(follow(PAGES / f"how-to/{name}.md", tmp_path, monkeypatch))
    plans = [text for text in told if text.startswith("Study ")]
    assert len(plans) == (3 if name == "data" else 1)
    assert all("to train" in text for text in plans)


@pytest.mark.parametrize(
    "page", [*PAGES.rglob("*.md"), *ROOT.glob("*.md")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_within_the_project_lead_to_something(page: Path) -> None:
    links = re.findall(r"\]\((?!\w+:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_reference_is_that_of_the_code() -> None:
    assert (PAGES / "reference.md").read_text() == reference(), (
        "python -m wetakd.commands.reference_page > docs/reference.md"
    )


def test_the_reference_has_a_meaning_for_every_field() -> None:
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `") and line.count(" | ") == 3]
    assert len(rows) > 100
    assert not [row[0] for row in rows if row[3].strip(" |") == "" and row[0] != "| `source`"]
