"""Every way to get something wrong, by what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.bad_input import data_files, models, score_files, study_files
from tests.bad_input.way import Way

CATALOGUE: Mapping[str, Callable[[], Iterator[Way]]] = {
    "study files": study_files.ways,
    "data": data_files.ways,
    "networks": models.ways,
    "score files": score_files.ways,
}


def all_ways() -> Iterator[Way]:
    """All of them, kind by kind."""
    for ways in CATALOGUE.values():
        yield from ways()
