from pathlib import Path

from wetakd.storage.atomic_store import Store
from wetakd.storage.stopped_students import read_stopped_epochs, write_stopped_epochs
from wetakd.training.epoch import Epoch


def test_the_epochs_of_a_stopped_student_are_read_as_they_were_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    epochs = [Epoch(n, loss=1.0, lr=0.1, choose_accuracy=0.5, choose_nll=1.0, seconds=0.1, ended_ms=n) for n in (1, 2)]
    assert read_stopped_epochs(store, "digits", "key") is None
    write_stopped_epochs(store, "digits", "key", epochs)
    found = read_stopped_epochs(store, "digits", "key")
    assert found == epochs
    assert [epoch.ended_ms for epoch in found or ()] == [1, 2]
    (tmp_path / "studies" / "digits" / "stopped" / "key.json").write_text("{")
    assert read_stopped_epochs(store, "digits", "key") is None
