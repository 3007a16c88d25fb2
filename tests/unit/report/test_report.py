"""Terminal, Markdown, HTML and JSON renderings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.unit.simulated_results import point, replaced, share_students, simulated
from wetakd.report.markdown import MOST_CHARACTERS
from wetakd.report.report import Report, build_report
from wetakd.results.stored_results import Results


def studies() -> Iterator[tuple[str, Results]]:
    points = [point(temperature=2.0), point(temperature=4.0)]
    swept = simulated(points=points)
    stopped = np.where(swept.trials["point"] == points[0].to_json(), 2.0, np.nan)
    plain = simulated()
    yield "plain", plain
    yield "one seed", simulated(num_seeds=1)
    yield "one assistant", simulated(pool=("ta6",))
    yield "sixty arms", simulated(pool=("ta8", "ta6", "ta5", "ta4"), num_seeds=2)
    yield "halved", replaced(swept, swept.trials.assign(stopped_at_epoch=stopped))
    yield "no controls", simulated(controls=())
    yield "nothing declared", simulated(strategies=("uniform", "greedy"), primary=None)
    yield "one strategy", simulated(strategies=("greedy",), primary=None)
    yield "all failed", replaced(plain, plain.trials.assign(error="out of memory"))
    yield "replicates", simulated(replicates=2, num_seeds=2)


@pytest.fixture(scope="module", params=list(studies()), ids=lambda param: param[0])
def report(request: pytest.FixtureRequest) -> Report:
    return build_report(request.param[1])


@pytest.fixture(scope="module")
def plain() -> Report:
    return build_report(simulated(num_seeds=2, effects={"de": 0.05}))


class TestEveryStudy:
    def test_the_terminal_text_fits_80_columns(self, report: Report) -> None:
        assert max(len(line) for line in report.text.splitlines()) <= 80
        assert not re.search(r"\bnan\b|\bNone\b", report.text)

    def test_all_arms_stand_in_the_markdown(self, report: Report) -> None:
        tables = [line for line in report.markdown.splitlines() if line.startswith("|")]
        assert len(tables) > len(report.findings.rows)
        assert not re.search(r"\bnan\b|\bNone\b", report.markdown)

    def test_rows_of_a_markdown_table_are_equally_wide(self, report: Report) -> None:
        for table in re.findall(r"(?:^\|.*\n)+", report.markdown, flags=re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1

    def test_the_description_fits_mlflow(self, report: Report) -> None:
        assert len(report.description) <= MOST_CHARACTERS
        assert report.verdict[0].answer in report.description

    def test_numbers_are_json(self, report: Report) -> None:
        again = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        assert len(again["arms"]) == len(report.findings.rows)
        assert again["verdict"][0]["answer"] == report.verdict[0].answer
        assert all(isinstance(value, float) for value in report.headline().values())


class _Opened(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(plain: Report) -> None:
    parser = _Opened()
    parser.feed(plain.html)
    assert parser.open == []
    assert len(parser.addresses) == len(plain.pictures) // 2
    assert all(address.startswith("data:image/svg+xml;base64,") for address in parser.addresses)
    assert "url(" not in plain.html
    assert "@import" not in plain.html


def test_files_are_complete_and_the_markdown_finds_its_pictures(plain: Report) -> None:
    files = plain.files()
    assert {"report.txt", "report.md", "report.html", "report.json"} <= set(files)
    linked = re.findall(r"!\[.*?\]\((.*?)\)", files["report.md"].decode())
    assert linked
    assert set(linked) <= set(files)


def test_names_are_escaped() -> None:
    results = simulated(pool=("ta6",), num_seeds=1, study="a<b>&c")
    errors = ["<script>|", *[None] * (len(results.trials) - 1)]
    report = build_report(replaced(results, results.trials.assign(error=errors)))
    assert "<script>" not in report.html
    assert "a&lt;b&gt;&amp;c" in report.html
    assert "<script>\\|" in report.markdown


def test_best_first_within_groups(plain: Report) -> None:
    lines = plain.text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("strategies over ta8+ta6+ta4"))
    means = [float(line[24:35].split("±")[0]) for line in lines[start + 1 : start + 7]]
    assert means == sorted(means, reverse=True)
    assert lines[start + 1].startswith("* DE") or lines[start + 1].startswith("  DE")


def test_the_winner_is_always_in_sight() -> None:
    """Thirteen recipes may have better luck on `test` than the one chosen."""
    results = simulated(pool=("ta8", "ta6", "ta5", "ta4"), num_seeds=2)
    trials = results.trials.copy()
    chosen = (trials["strategy"] == "greedy") & (trials["assistants"].map(tuple) == ("ta8", "ta6"))
    trials.loc[chosen, "student_choose_accuracy"] = 0.999
    trials.loc[chosen, "student_test_accuracy"] = 0.1
    text = build_report(replaced(results, trials)).text
    assert "* greedy ta8+ta6 " in text
    assert "more stand in report.md" in text


def test_the_same_students_are_named() -> None:
    results = simulated()
    pairs = [("convex", "de", ("ta8", "ta6", "ta4")), ("greedy", "uniform", ("ta8", "ta6"))]
    for strategy, like, assistants in pairs:
        results = replaced(results, share_students(results.trials, strategy, like=like, assistants=assistants))
    lines = build_report(results).text.splitlines()
    same = {line[:24].strip(): line[35:55] for line in lines if "= " in line[35:55]}
    # Within the group of the whole pool the strategy says enough; a space keeps it from the accuracy.
    assert same == {"convex": f"{'= DE':>20}", "greedy ta8+ta6": f"{'= uniform ta8+ta6':>20}"}


def test_row_order_does_not_matter(plain: Report) -> None:
    results = plain.findings.results
    shuffled = replaced(results, results.trials.sample(frac=1, random_state=9))
    assert build_report(shuffled).text == plain.text
    assert build_report(shuffled).to_dict() == plain.to_dict()


def test_a_missing_interval_is_explained() -> None:
    results = simulated()
    same = results.trials["strategy"] == "teacher"
    trials = results.trials.assign(student_test_accuracy=results.trials["student_test_accuracy"].mask(same, 0.9))
    words = "No interval: the very same at all seeds."
    assert words in " ".join(build_report(replaced(results, trials)).text.split())
    assert words not in " ".join(build_report(results).text.split())
