"""Take from DVC's cache what it has, and tell what it has not; nothing is executed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pipeline.graph import CutOffError, dvc_command
from pipeline.running.guard import Rules, read_ledger, write_guard
from pipeline.running.mend import working_copy
from pipeline.running.process import execute
from pipeline.running.verdict import SIGNALS, Transcript


class NotReproducedError(Exception):
    """The final ``dvc repro`` found something that no agent's result explains."""

    exit_code: ClassVar[int] = 4


def restore(folder: Path, dvcfile: str, targets: Sequence[str]) -> list[str]:
    """Run ``dvc repro`` where nothing may be executed: what the cache has is taken from there and noted in dvc.lock.

    Returns: the stages that would have had to be executed because the cache has no result of theirs, and those that
        DVC cannot even try (they lack an input).
    Raises: NotReproducedError if DVC fails for another reason, CutOffError if it is killed.
    """
    said, lines = Transcript(), []

    def hear(line: str) -> None:
        said.hear(line)
        lines.append(line)

    with working_copy(folder, [dvcfile]) as notes:
        ledger = notes / "ledger.jsonl"
        guard = write_guard(notes, Rules((), "", {}, None, ledger))
        command = dvc_command("repro", "--keep-going", *targets)
        said.code = execute(command, folder, {"SHELL": str(guard)}, hear)
        refused = [entry.stage for entry in read_ledger(ledger) if entry.state == "refused"]
    if said.code in SIGNALS:
        raise CutOffError("`dvc repro`", folder, said.code - 128)
    if said.code and said.failed is None:
        raise NotReproducedError(f"`dvc repro` failed in {folder}: {' '.join(lines[-3:]) or 'no message'}")
    return list(dict.fromkeys([*refused, *sorted(said.failed or ())]))
