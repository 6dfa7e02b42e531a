"""Work in processes: ordered, bounded, and over when its owner is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from model.data.workers import IN_FLIGHT, count_workers, in_processes, ordered_map
from model.errors import CorruptInputError, ResourceError, UsageError, UserError

ROOT = Path(__file__).parents[2]


def slow_at_first(item: int) -> int:
    time.sleep(0.2 if item == 0 else 0.0)
    return item * item


def identity_of_worker(_: int) -> tuple[int, bool]:
    return os.getpid(), "torch" in sys.modules


def fail_at(bad: int, item: int) -> int:
    if item == bad:
        raise CorruptInputError(f"item {item} is broken")
    return item


def die_at(bad: int, item: int) -> int:
    if item == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_come_in_the_order_of_the_items_for_any_number_of_workers(workers: int) -> None:
    assert list(ordered_map(slow_at_first, range(60), workers)) == [n * n for n in range(60)]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_items_give_no_results(workers: int) -> None:
    assert list(ordered_map(slow_at_first, [], workers)) == []


def test_one_worker_is_this_process_and_more_are_others_without_torch() -> None:
    assert {pid for pid, _ in ordered_map(identity_of_worker, range(3), 1)} == {os.getpid()}
    others = set(ordered_map(identity_of_worker, range(40), 2))
    assert os.getpid() not in {pid for pid, _ in others}
    assert not any(torch for _, torch in others)


def test_a_process_apart_can_be_had_for_one_worker_too() -> None:
    assert {pid for pid, _ in in_processes(identity_of_worker, range(3), 1)}.isdisjoint({os.getpid()})


def test_items_are_taken_only_a_little_ahead_of_the_results() -> None:
    taken = 0

    def counted() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            taken += 1
            yield item

    for done, _ in enumerate(ordered_map(slow_at_first, counted(), 2)):
        assert taken - done <= 2 * IN_FLIGHT


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_comes_at_its_turn_as_what_it_was(workers: int) -> None:
    results = ordered_map(partial(fail_at, 7), range(50), workers)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(CorruptInputError, match="item 7 is broken"):
        next(results)
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_noticed_and_the_others_end() -> None:
    with pytest.raises(ResourceError, match="worker process was killed"):
        list(ordered_map(partial(die_at, 5), range(50), 2))
    assert multiprocessing.active_children() == []


def test_leaving_early_leaves_no_process() -> None:
    with closing(in_processes(slow_at_first, range(1000), 2)) as results:
        assert next(results) == 0
    assert multiprocessing.active_children() == []


OWNER = """
from model.data.workers import ordered_map
from tests.data.test_workers import sleep_on
for pid in ordered_map(sleep_on, [0, 0, 3600, 3600], 2):
    print(pid, flush=True)
"""


def sleep_on(seconds: float) -> int:
    time.sleep(seconds or 0.3)
    return os.getpid()


def group(number: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == number and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_workers_die_with_their_owner_even_when_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "owner.py").write_text(OWNER)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "owner.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=ROOT, start_new_session=True) as owner:
        assert owner.stdout is not None
        workers = {int(owner.stdout.readline()) for _ in range(2)}
        assert workers <= set(group(owner.pid))
        owner.kill()
        owner.wait()
        until = time.monotonic() + 60
        while group(owner.pid) and time.monotonic() < until:
            time.sleep(0.05)
        assert group(owner.pid) == []


def test_workers_do_not_run_the_command_again_not_even_one_without_a_file(tmp_path: Path) -> None:
    code = "from model.data.workers import ordered_map; print('once'); print(list(ordered_map(len, ['ab', 'c'], 2)))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-"], input=code, env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("once\n[2, 1]\n", "")
    code = code.replace("len,", "lambda text: 1,")
    done = subprocess.run([sys.executable, "-"], input=code, env=env, capture_output=True, text=True, check=False)
    assert "is not of a module that other processes can import" in done.stderr


def test_auto_means_the_processors_and_nonsense_is_refused_by_key() -> None:
    assert 1 <= count_workers("auto", "lmdb.workers") <= 8
    assert count_workers(3, "lmdb.workers") == 3
    for setting in (0, -1, "many", True):
        with pytest.raises(UsageError, match=r"lmdb\.workers"):
            count_workers(setting, "lmdb.workers")


def test_every_failure_for_the_user_can_be_sent_between_processes() -> None:
    for kind in UserError.__subclasses__():
        with pytest.raises(kind, match="what and where"):
            list(ordered_map(partial(raise_one, kind), range(1), 2))


def raise_one(kind: type[UserError], _: int) -> None:
    raise kind("what and where")
