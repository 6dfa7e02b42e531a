"""One check of the self-test: what it compares, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from model.errors import LockedError, MissingInputError, NetworkError, ResourceError, UserError

State = Literal["PASS", "FAIL", "NOT RUN"]
_NOT_HERE = (MissingInputError, NetworkError, LockedError, ResourceError)  # says nothing about right or wrong


class NotRun(Exception):  # noqa: N818
    """A check cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Outcome:
    """What came of a check."""

    name: str
    state: State
    words: str


@dataclass(frozen=True)
class Check:
    """A check by name; ``run`` returns whether it passed, and the numbers in words."""

    name: str
    run: Callable[[], tuple[bool, str]]

    def outcome(self) -> Outcome:
        """Run the check; whatever keeps it from running is said, and never counts as passed."""
        try:
            passed, words = self.run()
        except NotRun as error:
            return Outcome(self.name, "NOT RUN", str(error))
        except UserError as error:
            return Outcome(self.name, "NOT RUN" if isinstance(error, _NOT_HERE) else "FAIL", str(error))
        return Outcome(self.name, "PASS" if passed else "FAIL", words)


def within(what: str, found: float, low: float, high: float) -> tuple[bool, str]:
    """Compare a number with an interval, in the form that :class:`Check` wants."""
    return low <= found <= high, f"{what} is {found:.7g}, expected {low:.7g} to {high:.7g}"
