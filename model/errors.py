"""Failures a user can cause, one class per exit code (what, where, expected, what to do)."""

from __future__ import annotations

from typing import ClassVar


class UserError(Exception):
    """A failure with a cause and a remedy that the message names; the command exits with ``exit_code``."""

    exit_code: ClassVar[int] = 1


class UsageError(UserError):
    """A setting or an argument is wrong."""

    exit_code = 2


class MissingInputError(UserError):
    """A file, folder or weight that is needed does not exist."""

    exit_code = 3


class CorruptInputError(UserError):
    """Something exists but is not what its manifest or format says."""

    exit_code = 4


class ResourceError(UserError):
    """Disk, memory or another resource ran out."""

    exit_code = 5


class NetworkError(UserError):
    """A server could not be reached or answered wrongly."""

    exit_code = 6


class BudgetError(UserError):
    """Too many bad items, or too few good ones."""

    exit_code = 7


class DivergenceError(UserError):
    """Training produced numbers that are not finite."""

    exit_code = 8


class LockedError(UserError):
    """Another process is working on the same thing."""

    exit_code = 9


class InterruptedRun(UserError):  # noqa: N818 (an interruption that can be continued is not an error)
    """The run was asked to stop, saved its state and can be continued."""

    exit_code = 75
