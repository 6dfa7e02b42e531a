"""Leaving a training properly: SIGTERM and Ctrl-C end the current batch, and nothing makes the user wait for it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from model.errors import InterruptedRun

GRACE = 25.0  # seconds from the signal to the end; schedulers kill after 30

log = logging.getLogger(__name__)


@contextmanager
def on_signal(stop: Callable[[], None], close: Callable[[], None], grace: float = GRACE) -> Iterator[None]:
    """Call ``stop`` at SIGTERM or Ctrl-C, which should make the block end soon.

    A batch that takes longer than ``grace`` seconds is given up: ``close`` is called and the process ends with the
    code of an interruption; saved states are whole at every instant, so only what came after the last one is lost.
    A second signal does the same at once.
    """
    timers: list[threading.Timer] = []

    def leave() -> None:
        log.warning("the batch is not done in time; leaving with the last saved state, the same command continues")
        close()
        os._exit(InterruptedRun.exit_code)

    def handle(number: int, frame: object) -> None:
        if timers:
            leave()
        log.info("%s: saving after this batch", signal.Signals(number).name)
        timers.append(threading.Timer(grace, leave))
        timers[0].daemon = True
        timers[0].start()
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
