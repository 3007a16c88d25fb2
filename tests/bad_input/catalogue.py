"""Every wrong input, by what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.bad_input import data_files, models, score_files, study_files
from tests.bad_input.wrong_input import WrongInput

CATALOGUE: Mapping[str, Callable[[], Iterator[WrongInput]]] = {
    "study files": study_files.wrong_inputs,
    "data": data_files.wrong_inputs,
    "networks": models.wrong_inputs,
    "score files": score_files.wrong_inputs,
}


def all_wrong_inputs() -> Iterator[WrongInput]:
    """All of them, kind by kind."""
    for wrong_inputs in CATALOGUE.values():
        yield from wrong_inputs()
