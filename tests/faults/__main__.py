"""The campaign as a command; exit code 1 where anything was lost."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.campaign import Campaign, kinds_here, read, summary, write
from tests.faults.faults import COMPANY, FAULTS


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=len(FAULTS), help="how many studies are hurt")
    parser.add_argument("--seed", type=int, default=0, help="draws faults and moments")
    parser.add_argument("--first", type=int, default=0, help="number of the first run, to go on with a campaign")
    parser.add_argument(
        "--kinds", default="", help="only these, comma-separated; default: all that this machine can have"
    )
    parser.add_argument(
        "--folder", type=Path, default=None, help="keeps results.jsonl and the runs that lost something"
    )
    parser.add_argument("--company", type=int, default=0, help="so many other deaths of workers beside each fault")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no run after so many")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="wetakd-faults-runs-"))
    folder.mkdir(parents=True, exist_ok=True)
    kinds = given.kinds.split(",") if given.kinds else kinds_here(folder)
    began = time.monotonic()
    results = folder / "results.jsonl"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    campaign = Campaign(folder, given.seed)
    try:
        for number in range(given.first, given.first + given.runs):
            if time.monotonic() - began > given.seconds:
                break
            kind = _kind(kinds, given.seed, number)
            outcome = campaign.run(number, [kind, *_company(kind, given.company, given.seed, number)])
            write(outcome, results)
            print(outcome.line, flush=True)
    finally:
        campaign.close()
    outcomes = read(results)
    print(f"\n{summary(outcomes)}\n\nseed {given.seed}, {time.monotonic() - began:.0f} s, {folder}")
    return int(any(outcome.lost for outcome in outcomes))


def _kind(kinds: list[str], seed: int, number: int) -> str:
    """Every kind once, in a random order, then every kind once more."""
    turn, place = divmod(number, len(kinds))
    return random.Random(f"{seed}/{turn}").sample(kinds, len(kinds))[place]


def _company(kind: str, num: int, seed: int, number: int) -> list[str]:
    others = [other for other in COMPANY if other != kind and FAULTS[kind].error_rows is None]
    return random.Random(f"{seed}/{number}/company").sample(others, min(num, len(others)))


if __name__ == "__main__":
    sys.exit(main())
