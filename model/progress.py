"""Progress of long work: a bar with rate and ETA on a terminal, one status line every ten seconds in a log."""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0
log = logging.getLogger(__name__)


class Progress:
    """Counts work in any unit: ``with Progress("train", total=10, unit="kimg") as progress: progress.update(0.5)``.

    Only one bar is drawn at a time; work nested in another's bar reports by log lines.
    """

    _bar_in_use: ClassVar[bool] = False

    def __init__(self, label: str, total: float | None, unit: str = "items") -> None:
        """Describe the work.

        Args:
            label: what is being done, two or three words.
            total: the amount of work in ``unit``; None when unknown (no ETA then).
            unit: what is counted.
        """
        self.label, self.total, self.unit = label, total, unit
        self.done = 0.0
        self.note = ""
        self._resumed_at = 0.0
        self._bar: RichProgress | None = None

    def __enter__(self) -> Progress:
        """Start the clock, and the bar when standard error is a terminal."""
        self._start = self._last_line = time.monotonic()
        drawable = sys.stderr.isatty() and importlib.util.find_spec("rich") is not None
        if drawable and not Progress._bar_in_use:
            self._bar = _rich_bar()
            self._task = self._bar.add_task(self.label, total=self.total, status="")
            self._bar.start()
            Progress._bar_in_use = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar, or say in the log how it ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            Progress._bar_in_use = False
        elif kind is None and self._last_line != self._start:
            log.info("%s: finished, %s", self.label, self.status())

    def resume_at(self, done: float) -> None:
        """Say that ``done`` units were finished before this start, so that rate and ETA are of this start alone."""
        self.done = self._resumed_at = done
        self.update(0)

    def update(self, amount: float = 1, note: str = "") -> None:
        """Count ``amount`` more units as done; ``note`` (optional) is shown behind the numbers."""
        self.done += amount
        self.note = note or self.note
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, status=self._bar_status())
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            log.info("%s: %s", self.label, self.status())

    def status(self) -> str:
        """Return the numbers of a status line: done, total, rate, time left."""
        seconds = time.monotonic() - self._start
        rate = (self.done - self._resumed_at) / seconds if seconds > 0 else 0.0
        parts = [f"{_number(self.done)}{'' if self.total is None else f' of {_number(self.total)}'} {self.unit}"]
        parts.append(f"{rate:.3g} {self.unit}/s" if rate >= 0.1 or rate == 0 else f"{rate * 60:.3g} {self.unit}/min")
        if self.total is not None and rate > 0:
            parts.append(f"{_clock(max(self.total - self.done, 0) / rate)} left")
        return ", ".join([*parts, self.note] if self.note else parts)

    def _bar_status(self) -> str:
        return self.status().split(", ", 1)[1]


def track(items: Iterable[T], label: str, total: int | None = None, unit: str = "items") -> Iterator[T]:
    """Yield ``items`` while showing progress; ``total`` is read from the items when they know their length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with Progress(label, total, unit) as progress:
        for item in items:
            yield item
            progress.update()


def _rich_bar() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}"))
    return Bar(*columns, console=Console(stderr=True), transient=True)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.2f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
