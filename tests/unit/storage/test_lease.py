"""The lease: one live driver a study, and a dead one is in nobody's way."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wetakd.common.errors import UserError
from wetakd.storage.atomic_store import Store
from wetakd.storage.lease import SILENT_S, Holder, Lease

PATH = "studies/digits/lease.json"
HOLD = (
    "import sys, time\n"
    "from wetakd.storage.atomic_store import Store\n"
    "from wetakd.storage.lease import Lease\n"
    "with Lease(Store(sys.argv[1]), sys.argv[2], silent_s=float(sys.argv[3])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def driver(store: Store) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, store.uri, PATH, "60"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def holder(store: Store) -> Holder:
    return Holder(**json.loads(store.read_file(PATH) or b""))


def elsewhere(store: Store, beat: int = 1, age_s: float = 0.0) -> None:
    """Write a sign of life of a driver on another machine."""
    life = Holder("other", "node7", "node7|boot|pid", 123, "9", beat, time.time() - age_s)
    store.write(PATH, json.dumps(dataclasses.asdict(life)).encode())


def test_a_second_live_driver_is_refused_at_once(store: Store, driver: subprocess.Popen[str]) -> None:
    begin = time.monotonic()
    expected = rf"study digits: another driver \(pid {driver.pid} on host {socket.gethostname()}\) is running it; "
    with pytest.raises(UserError, match=expected), Lease(store, PATH):
        pass
    assert time.monotonic() - begin < SILENT_S / 10
    assert holder(store).pid == driver.pid


def test_two_threads_of_one_process_are_two_drivers(store: Store) -> None:
    with Lease(store, PATH), pytest.raises(UserError, match=f"pid {os.getpid()} "), Lease(store, PATH):
        pass


def test_a_released_lease_is_gone(store: Store) -> None:
    with Lease(store, PATH):
        assert holder(store).pid == os.getpid()
    assert store.list() == []
    with Lease(store, PATH):
        pass


def test_a_killed_driver_is_in_nobodys_way(store: Store, driver: subprocess.Popen[str]) -> None:
    driver.send_signal(signal.SIGKILL)
    time.sleep(0.2)  # a zombie until its parent waits for it: dead all the same
    begin = time.monotonic()
    with Lease(store, PATH) as lease:
        assert time.monotonic() - begin < SILENT_S / 10
        assert holder(store).pid == os.getpid()
        lease.check()


def test_a_process_that_got_the_dead_drivers_number_is_not_the_driver(
    store: Store, driver: subprocess.Popen[str]
) -> None:
    other = dataclasses.replace(holder(store), started="12345")
    driver.kill()
    driver.wait()
    store.write(PATH, json.dumps(dataclasses.asdict(dataclasses.replace(other, pid=os.getppid()))).encode())
    with Lease(store, PATH):
        assert holder(store).pid == os.getpid()


def test_a_holder_elsewhere_that_beats_is_refused_however_wrong_its_clock(store: Store) -> None:
    elsewhere(store, beat=1, age_s=500)
    threading.Timer(0.2, elsewhere, (store, 2, 500)).start()
    with pytest.raises(UserError, match="pid 123 on host node7"), Lease(store, PATH, silent_s=3):
        pass


def test_a_silent_holder_elsewhere_is_taken_over_sooner_where_its_clock_says_so_too(store: Store) -> None:
    waited_s = []
    for age_s in (500, -500):
        elsewhere(store, age_s=age_s)
        begin = time.monotonic()
        with Lease(store, PATH, silent_s=3):
            waited_s.append(time.monotonic() - begin)
            assert holder(store).pid == os.getpid()
    assert 1.0 < waited_s[0] < waited_s[1]


def test_the_holder_keeps_beating_and_learns_that_it_lost(store: Store) -> None:
    with Lease(store, PATH, silent_s=0.6) as lease:
        first = holder(store).beat
        time.sleep(0.5)
        assert holder(store).beat > first
        lease.check()
        elsewhere(store)
        time.sleep(0.3)
        with pytest.raises(UserError, match="host node7"):
            lease.check()
    assert holder(store).host == "node7"  # not deleted: it is no longer ours


def test_a_driver_outlives_a_storage_that_is_away_for_a_moment(store: Store) -> None:
    with Lease(store, PATH, silent_s=0.6) as lease:
        folder = Path(store.uri, "studies")
        folder.rename(folder.with_name("away"))
        folder.write_text("in the way")
        time.sleep(0.3)
        folder.unlink()
        folder.with_name("away").rename(folder)
        beat = holder(store).beat
        time.sleep(0.4)
        assert holder(store).beat > beat
        lease.check()


def test_of_drivers_that_start_together_one_wins(store: Store) -> None:
    won, lost = [], []
    done = threading.Event()

    def drive() -> None:
        try:
            with Lease(store, PATH):
                won.append(1)
                done.wait(10)
        except UserError:
            lost.append(1)

    threads = [threading.Thread(target=drive) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(won) + len(lost) < 4:
        time.sleep(0.05)
    done.set()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"owner": "x"}', b"\x80\x04"])
def test_a_torn_lease_is_nobodys(store: Store, raw: bytes) -> None:
    store.write(PATH, raw)
    with Lease(store, PATH):
        assert holder(store).pid == os.getpid()
