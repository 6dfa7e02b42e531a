"""Keep processes alive: each under supervision, started again when it dies, and gone when this process is."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("keep")

_PROJECT = Path(__file__).resolve().parents[2]
_SUPERVISE = "import sys; sys.path.append(sys.argv.pop(1)); from pipeline.running.supervise import main; main()"
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 30.0  # s before a dead process is started again; doubles each time
_STEADY = 60.0  # s after which a process counts as well again
_TICK = 0.2  # s


@dataclass(frozen=True)
class Command:
    """What to keep alive."""

    name: str
    words: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    log: Path | None  # file its output is appended to; None = where this process's goes
    grace: float  # s it has to end after SIGTERM


class Kept:
    """One process that is started again whenever it ends; its standard input is the life line to it."""

    def __init__(self, command: Command, on_death: Callable[[], object] = lambda: None) -> None:
        """``on_death`` is called when it has died, with everything below it gone, and before it is started again."""
        self.command = command
        self.deaths = 0
        self._on_death = on_death
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = _FIRST_PAUSE
        self._begun = 0.0

    @property
    def pid(self) -> int | None:
        """Of the supervisor above it; None while there is none."""
        return None if self._process is None else self._process.pid

    def keep(self, stop: threading.Event) -> None:
        """Run it until ``stop``; then end it with everything below it."""
        try:
            while not stop.is_set():
                code = self._run(stop)
                if stop.is_set():
                    break
                self.deaths += 1
                if time.monotonic() - self._begun > _STEADY:
                    self._pause = _FIRST_PAUSE
                log.warning("%s ended (%s); again in %.0f s", self.command.name, _how(code), self._pause)
                self._on_death()
                stop.wait(self._pause)
                self._pause = min(2 * self._pause, _LAST_PAUSE)
        finally:
            self._end()

    def _run(self, stop: threading.Event) -> int | None:
        self._begun = time.monotonic()
        self._process = self._start()
        while self._process.poll() is None and not stop.wait(_TICK):
            pass
        return self._process.poll()

    def _start(self) -> subprocess.Popen[bytes]:
        command = self.command
        supervised = [
            sys.executable, "-I", "-S", "-c", _SUPERVISE, str(_PROJECT), f"--grace={command.grace}", "--",
            *command.words,
        ]  # fmt: skip
        with _output(command.log) as output:
            return subprocess.Popen(
                supervised, cwd=command.cwd, env=dict(command.environment), stdin=subprocess.PIPE, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip

    def _end(self) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()


@contextmanager
def _output(path: Path | None) -> Iterator[int | None]:
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        yield file.fileno()


def _how(code: int | None) -> str:
    if code is None:
        return "?"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def keep_all(kept: Sequence[Kept], stop: threading.Event) -> list[threading.Thread]:
    """Keep each alive in a thread of its own; join the threads after setting ``stop``."""
    threads = [threading.Thread(target=one.keep, args=[stop], name=one.command.name, daemon=True) for one in kept]
    for thread in threads:
        thread.start()
    return threads


@contextmanager
def until_told() -> Iterator[threading.Event]:
    """An event that SIGTERM, SIGHUP and Ctrl-C set; for the main thread."""
    stop = threading.Event()
    previous = {
        number: signal.signal(number, lambda _number, _frame: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def own_tools(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with this Python first, so that ``python`` is it, activated or not."""
    first = str(Path(sys.executable).parent)
    return {**environment, "PATH": f"{first}{os.pathsep}{environment.get('PATH', os.defpath)}"}
