"""What failed in a study, each failure once: networks, students, and strategies that found no weights.

A row of the trials table is no unit of failure: rows share students, and one network that fails leaves every row that
needs it without a student.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from wetakd.common.number_format import count_noun
from wetakd.results import columns


@dataclass(frozen=True)
class FailedNetwork:
    """A network that failed for a reason of its own, not because one of its teachers failed."""

    name: str
    replicate: int
    error: str
    num_trials: int
    """Trials that have no student because they need this network or one that it teaches."""


@dataclass(frozen=True)
class FailedStudents:
    """The distinct students that failed with the same error."""

    error: str
    num_students: int
    num_trials: int
    """Rows of the trials table that share these students."""


@dataclass(frozen=True)
class FailedSearches:
    """Trials whose networks are there, but whose weights could not be found."""

    error: str
    num_trials: int


@dataclass(frozen=True)
class Failures:
    """Everything that failed in one study."""

    networks: tuple[FailedNetwork, ...]
    students: tuple[FailedStudents, ...]
    searches: tuple[FailedSearches, ...]
    num_trials: int
    """Trials without a student, each counted once."""
    has_replicates: bool

    @property
    def num_students(self) -> int:
        """Distinct students that failed."""
        return sum(group.num_students for group in self.students)

    def __bool__(self) -> bool:
        return bool(self.networks or self.num_trials)

    @property
    def summary(self) -> str:
        """Such as `1 network and 2 students failed; 15 trials have no student`."""
        groups = ((len(self.networks), "network"), (self.num_students, "student"))
        failed = [count_noun(num, noun) for num, noun in groups if num]
        head = f"{' and '.join(failed)} failed; " if failed else ""
        return f"{head}{count_noun(self.num_trials, 'trial')} {'has' if self.num_trials == 1 else 'have'} no student"

    def lines(self) -> list[str]:
        """One sentence for each failure, the networks first."""
        networks = [
            f"network {self.title(network)} failed: {network.error}; {_without_student(network.num_trials)}"
            for network in self.networks
        ]
        students = [
            f"{count_noun(group.num_students, 'student')}{_shared(group)}: {group.error}" for group in self.students
        ]
        searches = [f"{group.error}; {_without_student(group.num_trials)}" for group in self.searches]
        return networks + students + searches

    def title(self, network: FailedNetwork) -> str:
        """Its name, with the replicate where there are several."""
        return f"{network.name} of replicate {network.replicate}" if self.has_replicates else network.name

    def to_dict(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {
            "networks": [asdict(network) for network in self.networks],
            "students": [asdict(group) for group in self.students],
            "searches": [asdict(group) for group in self.searches],
            "num_trials": self.num_trials,
        }


def _without_student(num: int) -> str:
    if not num:
        return "no trial needs it"
    return f"{count_noun(num, 'trial')} {'has' if num == 1 else 'have'} no student for that reason"


def _shared(group: FailedStudents) -> str:
    return "" if group.num_trials == group.num_students else f" (shared by {count_noun(group.num_trials, 'trial')})"


def find_failures(trials: pd.DataFrame, networks: pd.DataFrame) -> Failures:
    """Sort the failures of a study's tables by what failed; the order of their rows does not matter."""
    failed = trials[trials[columns.ERROR].notna() & (trials[columns.ERROR] != "")]
    causes = _causes(networks)
    broken = [
        any((row[columns.REPLICATE], name) in causes for name in row[columns.ASSISTANTS]) for row in _row_dicts(failed)
    ]
    by_network = failed[columns.STUDENT_KEY].isna() & pd.Series(broken, index=failed.index, dtype=bool)
    others = failed[~by_network]
    return Failures(
        networks=tuple(_failed_networks(networks, causes, failed[by_network])),
        students=tuple(_failed_students(others[others[columns.STUDENT_KEY].notna()])),
        searches=tuple(_failed_searches(others[others[columns.STUDENT_KEY].isna()])),
        num_trials=len(failed),
        has_replicates=networks[columns.REPLICATE].nunique() > 1,
    )


def _row_dicts(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")


Place = tuple[int, str]
"""Replicate and name of a network."""


def _causes(networks: pd.DataFrame) -> dict[Place, frozenset[Place]]:
    """For every network that failed, the networks that failed for a reason of their own and so took it along."""
    rows = _row_dicts(networks[networks[columns.ERROR].notna()])
    teachers: Mapping[Place, Sequence[Place]] = {
        (row[columns.REPLICATE], row[columns.NAME]): [(row[columns.REPLICATE], name) for name in row[columns.TAUGHT_BY]]
        for row in rows
    }

    def causes(place: Place) -> frozenset[Place]:
        failed = [teacher for teacher in teachers[place] if teacher in teachers]
        return frozenset().union(*map(causes, failed)) if failed else frozenset([place])

    return {place: causes(place) for place in teachers}


def _failed_networks(
    networks: pd.DataFrame, causes: Mapping[Place, frozenset[Place]], trials: pd.DataFrame
) -> Iterable[FailedNetwork]:
    taken_along = [
        frozenset().union(
            *(causes.get((row[columns.REPLICATE], name), frozenset()) for name in row[columns.ASSISTANTS])
        )
        for row in _row_dicts(trials)
    ]
    for row in _row_dicts(networks.sort_values([columns.REPLICATE, columns.NAME])):
        place = (row[columns.REPLICATE], row[columns.NAME])
        if place in causes.get(place, ()):
            yield FailedNetwork(
                row[columns.NAME],
                row[columns.REPLICATE],
                row[columns.ERROR],
                sum(place in some for some in taken_along),
            )


def _failed_students(trials: pd.DataFrame) -> Iterable[FailedStudents]:
    for error, some in trials.groupby(columns.ERROR):
        yield FailedStudents(str(error), some[columns.STUDENT_KEY].nunique(), len(some))


def _failed_searches(trials: pd.DataFrame) -> Iterable[FailedSearches]:
    for error, some in trials.groupby(columns.ERROR):
        yield FailedSearches(str(error), len(some))
