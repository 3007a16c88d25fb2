"""The plan of the embedded study over the tiny data set."""

from tests.unit.tiny import dataset
from wetakd.config.study_file import load_study_file
from wetakd.plan.study_plan import Plan


def make_plan(*overrides: str) -> Plan:
    return Plan(load_study_file(None, overrides), dataset())
