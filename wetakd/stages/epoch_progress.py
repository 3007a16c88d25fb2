"""Progress of a stage whose work is epochs of many networks."""

from __future__ import annotations

from wetakd.common.progress import (
    Stage,
)
from wetakd.training.epoch import Epoch


class EpochCounter:
    """Turns epochs of many networks into the progress of one stage, whose total is their epochs."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._done_of: dict[str, int] = {}
        self._done = self._stored = 0

    def reported(self, uid: str, label: str, epoch: Epoch, num_epochs: int) -> None:
        """An epoch of one network is done, in this run or before."""
        self._count(uid, epoch.epoch, is_stored=epoch.is_stored)
        what = f"epoch {epoch.epoch}/{num_epochs}, accuracy {epoch.choose_accuracy:.3f}: {label}"
        self._stage.step(self._done, what, self._stored)

    def finish(self, uid: str, label: str, num_epochs: int, *, is_stored: bool = True) -> None:
        """Nothing of a network is left to train.

        is_stored: what was not reported took this run no work: the network was found, imported, pruned or has failed.
        """
        if self._count(uid, num_epochs, is_stored=is_stored):
            self._stage.step(self._done, f"nothing left to train: {label}", self._stored)

    def _count(self, uid: str, num_epochs: int, *, is_stored: bool) -> int:
        new = max(0, num_epochs - self._done_of.get(uid, 0))
        self._done_of[uid] = self._done_of.get(uid, 0) + new
        self._done += new
        self._stored += new if is_stored else 0
        return new
