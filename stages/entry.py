"""Turn a stage function into a command: flags from its signature, log lines, exit codes, one tracking run."""

from __future__ import annotations

import argparse
import errno
import inspect
import logging
import os
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.tracking import Run, Status, mask, silence

_KINDS: tuple[type, ...] = (Path, str, int, float)
_INTERRUPTED = 130  # what a shell reports for Ctrl-C
_NO_RESOURCE = 5  # same class as model.errors.ResourceError

log = logging.getLogger("stage")


def run(stage_fn: Callable[..., object], argv: Sequence[str] | None = None) -> None:
    """Run a stage function with the flags of this process.

    Every parameter is one flag (``crop_size: int`` -> ``--crop-size``); a parameter without a default is required.
    Every execution is one tracking run, opened and closed here; a parameter annotated ``Run`` receives it instead of a
    flag. Of the processes that ``torchrun`` starts only the first keeps a record; the others receive None.

    Args:
        stage_fn: a typed function; its docstring is the help text.
        argv: flags, for tests; None means those of this process.

    Raises: SystemExit with the exception's ``exit_code`` if the stage fails with a message for the user, 1 for a bug.
    """
    silence()
    _set_up_logging()
    hints = typing.get_type_hints(stage_fn)
    tracked = [name for name, kind in hints.items() if kind in (Run, Run | None) and name != "return"]
    flags = vars(_parser(stage_fn, hints, tracked).parse_args(argv))
    code = _guarded(stage_fn, flags, tracked)
    if code:
        raise SystemExit(code)


def _guarded(stage_fn: Callable[..., object], flags: dict[str, Any], tracked: list[str]) -> int:
    """Call the stage; turn what it raises into one line and an exit code."""
    tracking: Run | None = None
    status: Status = "FAILED"
    error: BaseException | None = None
    try:
        if os.environ.get("RANK", "0") == "0":
            tracking = Run.open(_stage_name(stage_fn), flags)
        stage_fn(**flags, **dict.fromkeys(tracked, tracking))
        status = "FINISHED"
        return 0
    except KeyboardInterrupt as stopped:
        status, error = "KILLED", stopped
        log.error("error: interrupted")
        return _INTERRUPTED
    except Exception as failed:
        error = failed
        code = _report(failed)
        status = "KILLED" if code in (75, _INTERRUPTED) else "FAILED"
        return code
    finally:
        if tracking is not None:
            tracking.close(status, error)


def _report(error: Exception) -> int:
    """Say what went wrong: one line if the user can act on it, a traceback if it is our bug."""
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        log.error("error: %s", mask(" ".join(str(error).split())))
        return code
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        log.error("error: %s: the disk is full; free some space and start again", error.filename or "writing")
        return _NO_RESOURCE
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error):
        said = " ".join(str(error).split())[:200]
        log.error("error: memory ran out (%s); close other programs, or lower batch sizes or resolution", said)
        return _NO_RESOURCE
    log.error("error: %s: %s (a bug; the traceback says where)", type(error).__name__, error, exc_info=error)
    return 1


def _parser(stage_fn: Callable[..., object], hints: dict[str, Any], tracked: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{stage_fn.__name__}" if stage_fn.__module__ != "__main__" else None,
        description=inspect.getdoc(stage_fn),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, parameter in inspect.signature(stage_fn).parameters.items():
        if name in tracked:
            continue
        required = parameter.default is inspect.Parameter.empty
        parser.add_argument(
            "--" + name.replace("_", "-"),
            dest=name,
            type=_kind(name, hints.get(name)),
            required=required,
            default=None if required else parameter.default,
            metavar=name.upper(),
        )
    return parser


def _kind(name: str, hint: Any) -> type:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        hint = options[0] if len(options) == 1 else None
    if hint not in _KINDS:
        raise TypeError(f"parameter {name!r}: stages take Path, str, int and float flags, not {hint!r}")
    kind: type = hint
    return kind


def _stage_name(stage_fn: Callable[..., object]) -> str:
    """What DVC calls this stage (it tells its child processes), or the module's name outside DVC."""
    addressed = os.environ.get("DVC_STAGE", "")
    if addressed:
        return addressed.rpartition(":")[2]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = stage_fn.__module__
    if module == "__main__":
        module = spec.name if spec is not None else Path(sys.argv[0]).stem
    return str(module).rpartition(".")[2]


def _set_up_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _Line(logging.Formatter):
    """``12:03:44 message``; the level is named only when it matters."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if record.levelno == logging.WARNING:
            return line.replace(" ", " warning: ", 1)
        return line if record.levelno < logging.ERROR else line.partition(" ")[2]
