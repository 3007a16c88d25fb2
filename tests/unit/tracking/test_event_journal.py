"""The journal: what was said is there again, in order, each thing once, whatever was torn."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wetakd.storage.atomic_store import DamagedBlob, Store
from wetakd.tracking import event_journal as journal_module
from wetakd.tracking.event_journal import Event, EventJournal, study_id

NEVER_S = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def journal(store: Store) -> Iterator[EventJournal]:
    journal = EventJournal(store, "s", flush_s=NEVER_S)
    yield journal
    journal._closed.set()


def segments(store: Store) -> list[str]:
    return store.list("studies/s/journal/segments")


def numbers(journal: EventJournal, after: int = 0) -> list[int]:
    return [event.seq for event in journal.read(after)]


def test_events_come_back_in_order_with_their_time(journal: EventJournal, store: Store) -> None:
    begin = time.time() * 1000
    said = [journal.append("metrics", f"run {n}", {"values": {"x": n / 3}, "step": n}) for n in range(5)]
    assert numbers(journal) == [], "not durable before the flush"
    journal.flush()
    assert list(EventJournal(store, "s", flush_s=NEVER_S).read()) == said
    assert [event.seq for event in said] == [1, 2, 3, 4, 5]
    assert begin - 2 <= said[0].ms <= said[-1].ms <= time.time() * 1000 + 2
    assert numbers(journal, after=3) == [4, 5]


def test_a_study_has_one_id_which_only_its_driver_makes(store: Store) -> None:
    assert study_id(store, "s") is None
    first = EventJournal(store, "s", flush_s=NEVER_S).study_id
    assert first == EventJournal(store, "s", flush_s=NEVER_S).study_id == study_id(store, "s")
    assert first != EventJournal(store, "other", flush_s=NEVER_S).study_id
    whole = store.read_file("studies/s/id.json") or b""
    for torn in (b"", b"'", b"\xff" * 32, whole.replace(first.encode(), b"0" * 32)):
        store.write("studies/s/id.json", torn)
        assert study_id(store, "s") is None
        assert EventJournal(store, "s", flush_s=NEVER_S).study_id == study_id(store, "s") != first


def test_an_id_that_was_lost_stands_in_the_acknowledgements(store: Store, journal: EventJournal) -> None:
    journal.acknowledge("server", 1)
    store.delete("studies/s/id.json")
    assert study_id(store, "s") == EventJournal(store, "s", flush_s=NEVER_S).study_id == journal.study_id
    store.delete("studies/s/journal/sent-server.json")
    assert study_id(store, "s") == journal.study_id, "the next driver wrote it down again"


def test_a_journal_knows_which_events_were_lost(store: Store, journal: EventJournal) -> None:
    for _ in range(3):
        journal.append("tags", "r", {})
    journal.flush()
    journal.acknowledge("server", 3)
    assert not journal.lost
    assert not EventJournal(store, "s", flush_s=NEVER_S).lost
    (segment,) = segments(store)
    raw = store.read_file(segment) or b""
    for damaged, lost in ((raw.replace(b'"r"', b'"x"', 1), {1}), (raw[:-9], {3}), (b"", {1, 2, 3})):
        store.write(segment, damaged)
        assert EventJournal(store, "s", flush_s=NEVER_S).lost == lost


def test_numbers_that_are_not_finite_survive(journal: EventJournal) -> None:
    journal.append("metrics", "r", {"values": {"nan": float("nan"), "inf": float("inf")}, "step": 1})
    journal.flush()
    (event,) = journal.read()
    assert event.data["values"]["inf"] == float("inf")
    assert event.data["values"]["nan"] != event.data["values"]["nan"]


def test_thousands_of_events_cost_few_files(store: Store, journal: EventJournal) -> None:
    for flush in range(60):
        for n in range(100):
            journal.append("metrics", f"trial:{n}", {"values": {"loss": 0.123456789, "accuracy": 0.5}, "step": flush})
        journal.flush()
    assert len(segments(store)) <= 6000 * 150 // journal_module._SEGMENT_BYTES + 1 <= 6
    assert numbers(journal) == list(range(1, 6001))
    for after in (0, 1, 99, 2000, 3333, 5999, 6000):
        assert numbers(journal, after) == list(range(after + 1, 6001))


def test_a_thread_makes_events_durable(store: Store) -> None:
    journal = EventJournal(store, "s", flush_s=0.05)
    journal.append("tags", "r", {})
    deadline = time.monotonic() + 5
    while not segments(store) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert numbers(journal) == [1]
    assert journal.durable == 1
    journal.append("tags", "r", {})
    journal.close()
    assert numbers(journal) == [1, 2]


def test_a_new_driver_counts_on(store: Store) -> None:
    for first in (1, 3, 5):
        journal = EventJournal(store, "s", flush_s=NEVER_S)
        assert [journal.append("tags", "r", {}).seq for _ in range(2)] == [first, first + 1]
        journal.close()
    assert numbers(journal) == [1, 2, 3, 4, 5, 6]


def test_a_killed_driver_loses_nothing_that_was_flushed(store: Store) -> None:
    script = (
        "import sys, os\n"
        "from wetakd.storage.atomic_store import Store\n"
        "from wetakd.tracking.event_journal import EventJournal\n"
        "journal = EventJournal(Store(sys.argv[1]), 's', flush_s=3600)\n"
        "for n in range(10): journal.append('tags', 'r', {})\n"
        "journal.flush()\n"
        "journal.append('tags', 'r', {})\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", script, store.uri], check=False)
    journal = EventJournal(store, "s", flush_s=NEVER_S)
    assert numbers(journal) == list(range(1, 11))
    assert journal.append("tags", "r", {}).seq == 11


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_torn_segment_gives_what_is_whole_and_nothing_else(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        journal = EventJournal(store, "s", flush_s=NEVER_S)
        said = {}
        for part in range(2):
            for n in range(4):
                event = journal.append("metrics", f"run {part}", {"values": {"x": n}, "step": n})
                said[event.seq] = event
            journal.close()
            journal = EventJournal(store, "s", flush_s=NEVER_S)
        last = segments(store)[-1]
        raw = store.read_file(last) or b""
        at = data.draw(st.integers(0, len(raw) - 1))
        flip = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
        store.write(last, data.draw(st.sampled_from([raw[:at], flip])))
        after = EventJournal(store, "s", flush_s=NEVER_S)
        found = list(after.read())
        assert [said[event.seq] for event in found] == found
        assert [event.seq for event in found][:4] == [1, 2, 3, 4]
        assert after.append("tags", "r", {}).seq == (found[-1].seq if found else 0) + 1


@given(st.text(), st.text(), st.dictionaries(st.text(), st.integers() | st.text()))
def test_a_line_holds_any_text(kind: str, uid: str, data: dict[str, object]) -> None:
    event = Event(7, 123, kind, uid, data)
    line = event.to_line()
    assert line.count(b"\n") == 1
    assert Event.from_line(line.rstrip(b"\n")) == event


def test_a_leftover_of_the_tail_changes_nothing(store: Store, journal: EventJournal) -> None:
    journal.append("tags", "r", {})
    journal.flush()
    (shorter,) = segments(store)
    raw = store.read_file(shorter) or b""
    journal.append("tags", "r", {})
    journal.flush()
    for name in ("00000000", "ffffffff"):  # sorts before and after the longer one
        store.write(f"studies/s/journal/segments/000000000001-{name}.log", raw)
    assert numbers(journal) == [1, 2]
    assert numbers(journal, after=1) == [2]


def test_reading_while_the_tail_is_replaced(store: Store, journal: EventJournal) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            journal.append("tags", "r", {"x": "y" * 500})
            journal.flush()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = 0
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            durable = journal.durable
            new = numbers(journal, after=seen)
            assert new == list(range(seen + 1, seen + 1 + len(new)))
            seen = new[-1] if new else seen
            assert seen >= durable
    finally:
        stop.set()
        thread.join()
    assert seen > 50


def test_a_storage_that_is_away_loses_nothing(store: Store, journal: EventJournal) -> None:
    journal.append("tags", "r", {})
    studies = Path(store.uri, "studies")
    studies.rename(studies.with_name("away"))
    studies.write_text("in the way")
    with pytest.raises(OSError):  # noqa: PT011  the message is the system's
        journal.flush()
    journal.append("tags", "r", {})
    studies.unlink()
    studies.with_name("away").rename(studies)
    journal.flush()
    assert numbers(journal) == [1, 2]


def test_an_acknowledged_number_is_never_used_again(store: Store, journal: EventJournal) -> None:
    journal.acknowledge("server", 40)
    assert journal.acknowledged("server") == 40
    assert journal.acknowledged("other") == 0
    assert EventJournal(store, "s", flush_s=NEVER_S).append("tags", "r", {}).seq == 41


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'{"seq": 9}', b"\x80\x04N."])
def test_a_torn_acknowledgement_means_from_the_beginning(store: Store, journal: EventJournal, raw: bytes) -> None:
    store.write("studies/s/journal/sent-server.json", raw)
    assert journal.acknowledged("server") == 0


def test_blobs_are_checked(store: Store, journal: EventJournal) -> None:
    name = journal.put_blob(b"content")
    assert journal.put_blob(b"content") == name
    assert journal.blob(name) == b"content"
    store.write(f"studies/s/journal/blobs/{name}", b"c0ntent")
    with pytest.raises(DamagedBlob):
        journal.blob(name)
    with pytest.raises(DamagedBlob):
        journal.blob("0" * 64)
