"""One executor at a time, on one machine and on several, whatever is killed, paused or torn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.running import lease as module
from pipeline.running import record as record_module
from pipeline.running.lease import Lease, LeaseBusy, beat, holder, holders, settle, wait_free
from pipeline.running.storing import storing
from tests.running.toys import ROOT, alive, until

pytestmark = pytest.mark.slow

NAME = "profiles/paper/dvc.yaml:train@a-b-s0"


@contextmanager
def holding(folder: Path, ttl: float, machine: str = "") -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the lease, as if on another machine if that has a name."""
    environment = {**os.environ, **({"CARTOON_MACHINE": machine} if machine else {})}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.running.holding", "hold", str(folder), NAME, str(ttl)], cwd=ROOT,
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def asleep() -> Iterator[subprocess.Popen[bytes]]:
    """A process to be taken for DVC's."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def test_who_has_a_lease_is_known_and_the_token_outlives_it(tmp_path: Path) -> None:
    assert holder(tmp_path, NAME) is None
    with Lease.acquire(tmp_path, NAME, what="gpu-0") as first:
        assert first.held()
        assert first.token == 1
        with pytest.raises(LeaseBusy, match=rf"^{NAME}: being worked on by .*, process {os.getpid()}, since .*gpu-0"):
            Lease.acquire(tmp_path, NAME)
        with Lease.acquire(tmp_path, "another"):
            assert [one.name for one in holders(tmp_path)] == [NAME, "another"]
    assert LeaseBusy.exit_code == 9
    assert holders(tmp_path) == []
    with Lease.acquire(tmp_path, NAME) as second:
        assert second.token == 2


def test_names_that_look_alike_as_files_are_different_leases(tmp_path: Path) -> None:
    names = ["a/b", "a:b", "a%2fb", "a.b", "A/b", "ä", "x" * 300, "x" * 301]
    leases = [Lease.acquire(tmp_path, name) for name in names]
    assert {one.name for one in holders(tmp_path)} == set(names)
    for lease in leases:
        lease.release()


@pytest.mark.parametrize("machine", ["", "elsewhere"])
def test_a_holder_that_dies_loses_the_lease(tmp_path: Path, machine: str) -> None:
    with holding(tmp_path, ttl=1.0, machine=machine) as other:
        assert said(other) == "1"
        with pytest.raises(LeaseBusy):
            Lease.acquire(tmp_path, NAME, ttl=1.0)
        other.kill()
        other.wait()
        assert wait_free(tmp_path, NAME, poll=0.02, ttl=1.0)
        with Lease.acquire(tmp_path, NAME, ttl=1.0) as lease:
            assert lease.token == 2


def test_a_paused_holder_elsewhere_is_taken_over_and_knows_it_when_it_wakes(tmp_path: Path) -> None:
    with holding(tmp_path, ttl=0.5, machine="elsewhere") as other:
        assert said(other) == "1"
        other.send_signal(signal.SIGSTOP)
        with Lease.acquire(tmp_path, NAME, ttl=0.5) as lease:
            assert lease.token == 2
            other.send_signal(signal.SIGCONT)
            let_go(other)
            assert said(other) == "False"
            other.wait(30)
            assert lease.held()
            assert holder(tmp_path, NAME) is not None


def test_a_paused_holder_on_this_machine_is_killed_before_its_lease_is_taken(tmp_path: Path) -> None:
    with holding(tmp_path, ttl=0.5) as other:
        assert said(other) == "1"
        other.send_signal(signal.SIGSTOP)
        until(lambda: not _busy(tmp_path, 0.5))
        assert not alive(other.pid)
        assert other.wait(30) == -signal.SIGKILL


def _busy(folder: Path, ttl: float) -> bool:
    try:
        Lease.acquire(folder, NAME, ttl=ttl).release()
    except LeaseBusy:
        return True
    return False


def test_a_working_holder_is_never_taken_over_however_long_it_works(tmp_path: Path) -> None:
    for machine in ("", "elsewhere"):
        with holding(tmp_path, ttl=1.0, machine=machine) as other:
            said(other)
            assert all(_busy(tmp_path, 1.0) for _ in range(6) if not threading.Event().wait(0.25))
            let_go(other)
            assert said(other) == "True"


def test_what_inherited_the_lock_keeps_the_lease_when_the_holder_is_gone(tmp_path: Path) -> None:
    lease = Lease.acquire(tmp_path, NAME)
    with subprocess.Popen(["sleep", "20"], pass_fds=[lease.lock], start_new_session=True) as child:
        lease.give_to(child.pid)
        os.close(lease._lock)  # as if this process had died
        with pytest.raises(LeaseBusy):
            Lease.acquire(tmp_path, NAME)
        child.kill()
        child.wait()
        with Lease.acquire(tmp_path, NAME) as second:
            assert second.token == 2
        assert not lease.held()
        lease._done.set()


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 2048, b'{"pid": 1}', b"[]", b"\xff" * 9, b'"' + b"x" * 5000])
def test_a_torn_record_is_waited_out_and_counting_goes_on(tmp_path: Path, content: bytes) -> None:
    Lease.acquire(tmp_path, NAME).release()
    (place,) = tmp_path.iterdir()
    (place / f"{7:012d}").write_bytes(content)
    with Lease.acquire(tmp_path, NAME, ttl=0.2) as lease:
        assert lease.token == 8
        assert lease.held()


def test_a_record_torn_under_a_living_holder_never_makes_two(tmp_path: Path) -> None:
    for machine in ("", "elsewhere"):
        folder = tmp_path / f"of-{machine}"
        with holding(folder, ttl=1.0, machine=machine) as other:
            said(other)
            (place,) = folder.iterdir()
            (place / f"{1:012d}").write_bytes(b"torn")
            with pytest.raises(LeaseBusy):
                Lease.acquire(folder, NAME, ttl=1.0)
            let_go(other)
            assert said(other) == "True"


def test_a_cleared_folder_ends_every_lease_in_it(tmp_path: Path) -> None:
    lease = Lease.acquire(tmp_path, NAME)
    (place,) = tmp_path.iterdir()
    for file in place.iterdir():
        file.unlink()
    assert not lease.held()
    with Lease.acquire(tmp_path, NAME) as other:
        assert other.token == 1
        assert not lease.held()
        assert other.held()
        lease.release()
        assert other.held()


def test_a_result_being_stored_keeps_others_away_until_it_is_or_its_process_dies(tmp_path: Path) -> None:
    with asleep() as dvc:
        for ended in ("settled", "killed"):
            lease = Lease.acquire(tmp_path, NAME, run="mark")
            lease.leave_to(dvc.pid)
            beat(tmp_path, NAME, "mark")
            settle(tmp_path, NAME, "another run's mark")
            with pytest.raises(LeaseBusy):
                Lease.acquire(tmp_path, NAME)
            if ended == "settled":
                settle(tmp_path, NAME, "mark")
            else:
                dvc.kill()
                dvc.wait()
            assert holder(tmp_path, NAME) is None
            Lease.acquire(tmp_path, NAME).release()


def test_a_lease_is_free_as_soon_as_dvc_goes_on_to_the_next_stage(tmp_path: Path) -> None:
    with asleep() as dvc:
        with storing(tmp_path, "mark", ttl=0.2) as watched:
            assert watched is not None
            for name, following in (("first", "second"), ("second", "")):
                watched.at(name)
                Lease.acquire(tmp_path, name, run="mark").leave_to(dvc.pid)
                before = holder(tmp_path, name)
                until(lambda: holder(tmp_path, name) != before)  # noqa: B023 (looked at in this round)
                assert holder(tmp_path, name) is not None  # it beats
                if following:
                    watched.at(following)
                    assert holder(tmp_path, name) is None
        assert holder(tmp_path, "second") is None


def test_many_processes_on_two_machines_never_overlap(tmp_path: Path) -> None:
    log, each = tmp_path / "log", 6
    command = [sys.executable, "-m", "tests.running.holding", "work", str(tmp_path / "leases"), NAME, "2.0"]
    workers = [
        subprocess.Popen([*command, str(each), str(log)], cwd=ROOT, env={**os.environ, "CARTOON_MACHINE": machine})
        for machine in ("here", "there", "here", "there")
    ]
    assert [worker.wait(120) for worker in workers] == [0] * 4
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    tokens = [token for what, token in lines if what == "begin"]
    assert lines == [[what, token] for token in tokens for what in ("begin", "end")]
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 4 * each


Step: TypeAlias = tuple[str, int, float]


class World:
    """Actors on two machines under a clock of ours; beats happen only when an actor is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.meanwhile = folder, 0.0, list[Step]()
        self.leases: dict[int, Lease] = {}
        self.tokens = [0]

    def monotonic(self) -> float:
        return self.now

    strftime, localtime, time = staticmethod(time.strftime), staticmethod(time.localtime), monotonic

    def sleep(self, seconds: float) -> None:
        """Time passes for whoever waits, and others act."""
        self.now += seconds
        if self.meanwhile:
            self.act(*self.meanwhile.pop())

    def kill(self, record: module.Holder) -> None:
        for actor, one in list(self.leases.items()):
            if one.token == record.token:
                self.die(actor)

    def die(self, actor: int) -> None:
        one = self.leases.pop(actor)
        one._done.set()
        for file in (one._lock, one._file):
            os.close(file)

    def act(self, what: str, actor: int, seconds: float) -> None:
        os.environ["CARTOON_MACHINE"] = f"machine-{actor % 2}"
        one = self.leases.get(actor)
        if what == "acquire" and one is None:
            with suppress(LeaseBusy):
                self.leases[actor] = Lease.acquire(self.folder, "x", ttl=10.0)
                self.tokens.append(self.leases[actor].token)
        elif what == "beat" and one is not None and one.held():
            one._write()
        elif what == "release" and one is not None:
            del self.leases[actor]
            one.release()
        elif what == "die" and one is not None:
            self.die(actor)
        elif what == "pass":
            self.now += seconds
        assert sum(lease.held() for lease in self.leases.values()) <= 1


STEPS = st.tuples(
    st.sampled_from(["acquire", "acquire", "acquire", "beat", "beat", "release", "die", "pass"]),
    st.integers(0, 3), st.sampled_from([1.0, 4.0, 11.0]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, min_size=4, max_size=30), meanwhile=st.lists(STEPS, max_size=12))
def test_in_no_order_of_events_do_two_hold_it(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, float]],
    meanwhile: list[tuple[str, int, float]],
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    world.meanwhile = meanwhile
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARTOON_MACHINE", "")
        patch.setattr(module, "time", world)
        patch.setattr(record_module, "time", world)
        patch.setattr(module, "_kill", world.kill)
        for step in steps:
            world.act(*step)
        for actor in list(world.leases):
            world.die(actor)
    assert world.tokens == sorted(set(world.tokens))
