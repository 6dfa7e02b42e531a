"""What the doctor finds: one line each, and the exit code that all of them make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline.journal import mask

SETTING, RESOURCE = 2, 5  # exit codes: something is set up wrongly, something is lacking


class UnwellError(Exception):
    """This machine is not ready; ``exit_code`` is 2 if a setting is wrong, 5 if only something is lacking."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Finding:
    """The answer to one question."""

    level: Literal["ok", "warning", "problem"]
    what: str
    found: str
    remedy: str = ""
    exit_code: int = 0  # of a problem

    def __str__(self) -> str:
        line = f"{self.level}: {self.what}: {self.found}"
        return mask(" ".join((f"{line}; {self.remedy}" if self.remedy else line).split()))


def ok(what: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", what, found)


def warning(what: str, found: str, remedy: str) -> Finding:
    """It works, but may not be what is wanted."""
    return Finding("warning", what, found, remedy)


def problem(what: str, found: str, remedy: str, exit_code: int) -> Finding:
    """It will not work."""
    return Finding("problem", what, found, remedy, exit_code)


def judge(findings: Iterable[Finding]) -> None:
    """Raise if there is any problem.

    Raises: UnwellError.
    """
    codes = [finding.exit_code for finding in findings if finding.level == "problem"]
    if codes:
        count = f"{len(codes)} problems" if len(codes) > 1 else "1 problem"
        raise UnwellError(f"{count}; the lines above say what to do", min(codes))
