"""SIGTERM and Ctrl-C on their way to the stages."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pipeline.running.process import GROUPS

_Handler = Callable[[int, FrameType | None], Any] | int | None  # as the module ``signal`` has it


class Told:
    """Remembers that this process was told to end.

    The exception that a handler raises is lost where Python ignores exceptions: in a finaliser, for example, of which
    DVC's objects have some. So it is raised again wherever this is asked.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, _Handler] = {}
        self._number: int | None = None

    def listen(self) -> None:
        """Take the two signals over; for the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._hear)

    def restore(self) -> None:
        """Give them back to whoever had them."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise what a signal raised, if one came."""
        if self._number is not None:
            self._leave(self._number, None)

    def pause(self, seconds: float) -> None:
        """Sleep, unless a signal came."""
        self.check()
        time.sleep(seconds)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        GROUPS.terminate()
        self._number = number
        self._leave(number, frame)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers[number]
        if callable(handler):
            handler(number, frame)
        else:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        self._number = None  # it raises nothing, so this process is to go on


@contextmanager
def signals_reach_the_stages() -> Iterator[Told]:
    """While stages run, SIGTERM and Ctrl-C end their process groups before this process ends as it would have.

    Loops within ask what they get (``check``, ``pause``); the end of the block does.
    """
    GROUPS.reopen()
    told = Told()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    told.listen()
    try:
        yield told
    except Exception:
        told.check()  # it failed because everything is being ended
        raise
    else:
        told.check()
    finally:
        told.restore()
