"""SIGTERM and Ctrl-C on their way to the stages."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.running.process import GROUPS


@contextmanager
def signals_reach_the_stages() -> Iterator[None]:
    """While stages run, SIGTERM and Ctrl-C end their process groups before this process ends as it would have."""
    GROUPS.reopen()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: Any) -> None:
        GROUPS.terminate()
        handler = previous[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        else:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
