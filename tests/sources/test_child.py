"""A reader in a process of its own: what it says arrives, and its end, however it comes, is told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path

import pytest

from model.errors import CorruptInputError, UsageError
from stages.sources.child import ChildDiedError, Item, Patience, from_child

CALM = Patience(stalled_s=30, memory=None)


def counts(to: int) -> Iterator[Item]:
    for number in range(to):
        yield {"number": number}, bytes([number]) * number
        yield None


def test_items_arrive_in_order_with_their_bytes_and_signs_of_life_are_left_out() -> None:
    found = list(from_child(counts, (5,), CALM))
    assert found == [({"number": n}, bytes([n]) * n) for n in range(5)]
    assert not active_children()


def test_a_reader_that_is_no_longer_heard_ends() -> None:
    with closing(from_child(counts, (10**9,), CALM)) as items:
        assert next(items)[0] == {"number": 0}
    assert not active_children()


def refuses() -> Iterator[Item]:
    yield {}, b""
    raise UsageError("row 3: wrong")


def breaks() -> Iterator[Item]:
    yield {}, b""
    raise KeyError("bug")


def test_its_errors_are_ours_and_its_bugs_are_bugs() -> None:
    with pytest.raises(UsageError, match="row 3: wrong"):
        list(from_child(refuses, (), CALM))
    with pytest.raises(RuntimeError, match="KeyError: 'bug'"):
        list(from_child(breaks, (), CALM))


def crashes(number: int) -> Iterator[Item]:
    yield {"before": True}, b""
    os.kill(os.getpid(), number)
    yield {"after": True}, b""


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_is_named_by_its_signal_after_what_came_before(number: int) -> None:
    items = from_child(crashes, (int(number),), CALM)
    assert next(items) == ({"before": True}, b"")
    with pytest.raises(ChildDiedError, match=rf"died \(signal {int(number)}\)"):
        next(items)


def leaves() -> Iterator[Item]:
    os._exit(3)
    yield None


def test_an_unexpected_exit_is_named() -> None:
    with pytest.raises(ChildDiedError, match=r"exit code 3"):
        list(from_child(leaves, (), CALM))


def sleeps() -> Iterator[Item]:
    yield None
    while True:
        time.sleep(60)


def test_a_hang_ends_when_patience_does() -> None:
    with pytest.raises(ChildDiedError, match="no sign of life for 1 s"):
        list(from_child(sleeps, (), Patience(stalled_s=1, memory=None)))
    assert not active_children()


def eats() -> Iterator[Item]:
    yield {}, bytes(8 << 30)


def test_memory_is_limited() -> None:
    with pytest.raises(CorruptInputError, match="memory"):
        list(from_child(eats, (), Patience(stalled_s=30, memory=4 << 30)))


def writes(path: str) -> Iterator[Item]:
    with Path(path).open("wb") as file:
        file.write(b"x" * 100_000)
    yield {}, b""


def test_it_can_write_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="OSError"):
        list(from_child(writes, (str(tmp_path / "x"),), CALM))
    assert not (tmp_path / "x").stat().st_size


def test_readers_load_no_torch() -> None:
    """Films and LMDBs are read on machines with little memory."""
    code = "import sys; import stages.sources.film, stages.sources.packed, stages.crawl; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
