"""A generator of bad input: a `WrongInput` is a small folder of files and a command of `wetakd` that must refuse it.

`python -m tests.bad_input` says how many there are of each kind; `tests/project/test_bad_input.py` tries them all.
"""
