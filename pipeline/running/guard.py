"""The shell that DVC starts stages with: it decides whether a stage may be executed here, and keeps a ledger of all.

DVC restores a stage from the cache without a shell, so what the guard refuses is exactly what would be executed.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.running.family import started
from pipeline.running.lease import TTL
from pipeline.running.supervise import GRACE

State = Literal["ran", "failed", "refused", "busy", "lost"]
_INTERRUPTED = 75  # exit code
_OPTIONS = {"bash": ["--noprofile", "--norc"], "zsh": ["--no-rcs"]}  # no settings of whoever runs it, as DVC does it
_START = "import sys; sys.path.append(sys.argv.pop(1)); from pipeline.running.guarded import main; main()"
_SCRIPT = """#!/bin/sh
exec {python} -I -S -c {start} {root} {rules} "$@"
"""


@dataclass(frozen=True)
class Rules:
    """What may be executed, and where that is written down."""

    allowed: tuple[str, ...] | None  # DVC's addresses of stages; None: all
    pool: str  # that this agent serves; empty: this workspace runs everything
    pools: Mapping[str, str]  # address -> the pool it belongs to, for the message
    leases: Path | None  # folder of leases; None: nobody else can run these stages
    ledger: Path  # JSON lines, appended


@dataclass(frozen=True)
class Execution:
    """One start of a stage, or its refusal."""

    stage: str
    state: State
    code: int
    seconds: float
    begun: float  # Unix time
    run: str  # of DVC, by the mark all its processes have


def write_guard(folder: Path, rules: Rules, grace: float = GRACE, ttl: float = TTL) -> Path:
    """Write the script to give DVC as ``SHELL``, and its rules beside it.

    Args:
        folder: made if it does not exist; the script is of no use without it.
        rules: see there.
        grace: seconds a stage has to save its state when it is asked to end.
        ttl: seconds without a sign of life after which a lease may be taken over; the same on all machines.

    Returns: the script.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shell = os.environ.get("SHELL") or "/bin/sh"
    told: dict[str, Any] = {
        "allowed": rules.allowed, "pool": rules.pool, "pools": dict(rules.pools),
        "leases": str(rules.leases.absolute()) if rules.leases else None, "ledger": str(rules.ledger.absolute()),
        "shell": shell, "options": _OPTIONS.get(Path(shell).name, []), "grace": grace, "ttl": ttl,
    }  # fmt: skip
    settings = folder / "rules.json"
    settings.write_text(json.dumps(told))
    rules.ledger.parent.mkdir(parents=True, exist_ok=True)
    script = folder / "guard"
    root = Path(__file__).resolve().parents[2]
    words = {"python": sys.executable, "start": _START, "root": str(root), "rules": str(settings.absolute())}
    script.write_text(_SCRIPT.format(**{name: shlex.quote(word) for name, word in words.items()}))
    script.chmod(0o755)
    return script


def read_ledger(path: Path) -> list[Execution]:
    """Read what was executed, in the order of beginning; a line cut off by a kill is left out.

    An execution that was killed with its guard is ``failed`` with the code of an interruption; one that is still
    running is not in the list.
    """
    if not path.exists():
        return []
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
            found[line["stage"], line["pid"], line["started"], line["run"]] = line
        except (ValueError, KeyError, TypeError):
            continue
    return [_execution(line) for line in found.values() if line["state"] != "running" or not _lives(line)]


def _lives(line: Mapping[str, Any]) -> bool:
    return started(int(line["pid"])) == int(line["started"])


def _execution(line: Mapping[str, Any]) -> Execution:
    killed = line["state"] == "running"
    return Execution(
        stage=line["stage"], state="failed" if killed else line["state"],
        code=_INTERRUPTED if killed else int(line["code"]), seconds=float(line["seconds"]),
        begun=float(line["begun"]), run=line["run"],
    )  # fmt: skip
