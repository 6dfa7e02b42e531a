"""Items made in a process of their own: a crash or a hang in a parser of foreign bytes costs those items only.

The child may use so much memory and processor time, writes no file, and talks by length-prefixed JSON and bytes: what
it says is read as data, whatever became of it.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from model import errors
from model.errors import CorruptInputError, UserError

Head = dict[str, Any]
Item = tuple[Head, bytes] | None  # None says that the child is alive
STARTUP_S = 300.0  # for a new Python on a machine with too much to do
CPU_S = 6 * 3600  # a long film takes one; an orphan that hangs ends here


@dataclass(frozen=True)
class Patience:
    """Limits of a child."""

    stalled_s: float  # seconds without a sign of life, once it runs
    memory: int | None  # bytes of address space; None for files that are mapped, which may claim any size


class ChildDiedError(CorruptInputError):
    """The child crashed, hung or broke its limits; what it was reading is to blame."""


def from_child(
    produce: Callable[..., Iterator[Item]], arguments: tuple[Any, ...], patience: Patience
) -> Generator[tuple[Head, bytes], None, None]:
    """Yield what ``produce(*arguments)`` yields in a child process, without the signs of life.

    Args:
        produce: a generator function of a module (not a lambda): the child imports it.
        arguments: plain values.
        patience: limits.

    Raises: ChildDiedError if it crashed or stalled; the UserError that ``produce`` raised; RuntimeError for its bugs.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy threads and open handles of this process
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, produce, arguments, patience.memory), daemon=True)
    process.start()
    theirs.close()
    try:
        _receive(ours, process, STARTUP_S)
        while True:
            head, content = _receive(ours, process, patience.stalled_s)
            if "ended" in head:
                return
            if "item" in head:
                yield head["item"], content
    finally:
        ours.close()
        process.kill()
        process.join()


def _receive(connection: Connection, process: Any, stalled_s: float) -> tuple[Head, bytes]:
    if not connection.poll(stalled_s):
        raise ChildDiedError(f"no sign of life for {stalled_s:g} s")
    try:
        head: Head = json.loads(connection.recv_bytes())
        content = connection.recv_bytes() if head.get("content") else b""
    except (EOFError, OSError, ValueError) as error:
        process.join(5)
        code = process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        raise ChildDiedError(f"its reader died ({how})") from error
    if "error" in head:
        raise _error(head)
    return head, content


def _error(head: Head) -> Exception:
    kind = getattr(errors, str(head["error"]), None)
    if isinstance(kind, type) and issubclass(kind, UserError):
        return kind(str(head["message"]))
    return RuntimeError(f"{head['error']}: {head['message']} (in the reading process)")


def _serve(
    connection: Connection, produce: Callable[..., Iterator[Item]], arguments: tuple[Any, ...], memory: int | None
) -> None:
    """Run in the child: limit it, then send what ``produce`` yields."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        _send(connection, {}, b"")
        for item in produce(*arguments):
            if item is None:
                _send(connection, {}, b"")
            else:
                _send(connection, {"item": item[0]}, item[1])
        _send(connection, {"ended": True}, b"")
    except BrokenPipeError:
        return  # nobody listens any more
    except MemoryError:
        _send(connection, {"error": "CorruptInputError", "message": "needs more memory than its reader may use"}, b"")
    except Exception as error:
        _send(connection, {"error": type(error).__name__, "message": str(error)}, b"")


def _send(connection: Connection, head: Head, content: bytes) -> None:
    connection.send_bytes(json.dumps({**head, "content": bool(content)}).encode())
    if content:
        connection.send_bytes(content)
