"""Being told to end: heard wherever it comes, also where Python loses what a handler raises."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence

import pytest

from pipeline.conductor import Patience, conduct
from pipeline.flows.signals import signals_reach_the_stages
from pipeline.graph import StageNode
from pipeline.jobs import Job, Outcome
from pipeline.running.process import GROUPS

A = StageNode("a", "dvc.yaml", "cpu", network=False, upstream=())


class Finalised:
    """Python ignores what is raised while it is thrown away."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass  # the handler runs between two of these


class Endless:
    """A backend whose job never ends, and whose first look loses the signal."""

    def __init__(self) -> None:
        self.looks = 0

    def start(self, job: Job, attempt: int) -> None:
        """Do nothing."""

    def finished(self) -> list[tuple[Job, Sequence[Outcome]]]:
        """Return nothing."""
        self.looks += 1
        assert self.looks < 5, "the signal was not heard"
        Finalised()
        return []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_a_finaliser_has_lost_ends_the_run() -> None:
    backend = Endless()
    with pytest.raises(SystemExit) as caught, signals_reach_the_stages() as told:
        conduct([Job((A,))], {"a": A}, backend, Patience((), 0, 0.0), told.pause)
    assert caught.value.code == 128 + signal.SIGTERM
    assert GROUPS.closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fails", [False, True])
def test_a_lost_signal_is_heard_at_the_end_of_the_block_at_the_latest(fails: bool) -> None:
    with pytest.raises(SystemExit), signals_reach_the_stages():
        Finalised()
        if fails:
            raise InterruptedError("stopping: no further stage is started")


def test_signals_go_to_whoever_had_them_before() -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with signals_reach_the_stages() as told:
            os.kill(os.getpid(), signal.SIGTERM)
            told.pause(0)
        assert heard == [signal.SIGTERM]  # it raised nothing: whoever had the signal wants to go on
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_fails_by_itself_says_so_and_a_new_block_starts_again() -> None:
    with pytest.raises(ValueError, match="own"), signals_reach_the_stages():
        raise ValueError("own")
    GROUPS.terminate()
    with signals_reach_the_stages() as told:
        told.pause(0)
        assert not GROUPS.closed


def test_threads_other_than_the_main_one_leave_the_handlers_alone() -> None:
    handlers = []

    def work() -> None:
        with signals_reach_the_stages() as told:
            told.pause(0)
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
