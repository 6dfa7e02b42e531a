"""What became of each stage of a job: read from the guard's ledger and from what DVC said."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.jobs import Job, Outcome
from pipeline.running.guard import Execution

_BEGUN = re.compile(r"^Running stage '(.+)':$")
_SAME = re.compile(r"^(?:Stage )?'(.+)' (?:didn't change, skipping|is cached - skipping run)")
_SKIPPED = re.compile(r"^(?:WARNING: )?Stages? ('.+') will be skipped due to this failure$")
_FAILED = re.compile(r"^ERROR: failed to reproduce(?: stages:)? ('.+')")
_NAME = re.compile(r"'([^']+)'")
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|File too large", re.I)
_RESOURCE, _BUSY, _INTERRUPTED = 5, 9, 75  # exit codes
_UNDONE = ("failed", "skipped")
SIGNALS = range(129, 193)  # exit codes of a command that was ended by a signal


@dataclass
class Transcript:
    """What one run of ``dvc repro --keep-going`` said, line by line."""

    code: int = 0  # of dvc
    same: set[str] = field(default_factory=set)  # up to date, or restored
    skipped: set[str] = field(default_factory=set)  # need one that failed
    failed: set[str] | None = None  # DVC's own list; None if it was killed or did not get that far
    no_space: bool = False
    current: str = ""  # the stage it was at

    def hear(self, line: str) -> None:
        """Take in one line."""
        if match := _BEGUN.match(line):
            self.current = match[1]
        elif match := _SAME.match(line):
            self.current = match[1]
            self.same.add(match[1])
        elif match := _SKIPPED.match(line):
            self.skipped.update(_NAME.findall(match[1]))
        elif match := _FAILED.match(line):
            self.failed = set(_NAME.findall(match[1]))
        elif _NO_SPACE.search(line):
            self.no_space = True

    @property
    def code_of_dvc(self) -> int:
        """The class of a failure that is DVC's own and no stage's."""
        if self.failed is None and self.code in SIGNALS:
            return _INTERRUPTED
        return _RESOURCE if self.no_space else 1


def judge(
    job: Job, said: Transcript, executions: Collection[Execution], where: str, went_on: bool = True
) -> list[Outcome]:
    """Say what became of every stage of a job.

    Args:
        job: see there.
        said: by DVC.
        executions: of this run of DVC, in order.
        where: the machine and agent.
        went_on: whether DVC went on after a failure; if not, later stages are not judged.

    Returns: outcomes in the job's order.
    """
    lost: dict[str, Outcome] = {}
    outcomes: list[Outcome] = []
    for node in job.stages:
        if not went_on and said.failed and any(outcome.state == "failed" for outcome in outcomes):
            break
        own = [one for one in executions if one.stage == node.name]
        seconds = sum(one.seconds for one in own)
        code = _failure(node.name, said, own)
        if any(upstream in lost for upstream in node.upstream) and not _did_fail(own):
            outcome = lost[node.name] = Outcome(node.name, "skipped", 0, seconds, where)
        elif code or node.name in said.skipped:
            code = code or _ancestors_code(job, said, executions)
            outcome = lost[node.name] = Outcome(node.name, "failed", code, seconds, where)
        else:
            ran = any(one.state == "ran" for one in own)
            outcome = Outcome(node.name, "ran" if ran else "cached", 0, seconds, where)
        outcomes.append(outcome)
    return outcomes


def _did_fail(own: list[Execution]) -> bool:
    return bool(own) and own[-1].state != "ran"


def _failure(name: str, said: Transcript, own: list[Execution]) -> int:
    """Return the exit code of a stage that failed, 0 for one that did not."""
    if said.code == 0:
        return 0
    if said.failed is None:  # DVC did not end by itself; what it was at is not in its lock
        finished = name in said.same or (bool(own) and own[-1].state == "ran")
        if finished and name != said.current:
            return 0
    elif name not in said.failed:
        return 0
    return own[-1].code if own and own[-1].code else said.code_of_dvc


def _ancestors_code(job: Job, said: Transcript, executions: Iterable[Execution]) -> int:
    """Return the code for a stage that could not run because of one that is not in the job."""
    codes = [one.code for one in executions if one.stage not in job.names and one.code]
    return codes[-1] if codes else said.code_of_dvc


def unfinished(job: Job, outcomes: Mapping[str, Outcome], waiting: bool) -> Job | None:
    """Return what can still be done of a job: not what failed, nor what needs that; None if nothing.

    Args:
        job: the whole.
        outcomes: of its stages, as far as they are known.
        waiting: whether what failed because somebody else works on it can be done when that has ended.
    """
    failed = {name: outcome.exit_code for name, outcome in outcomes.items() if outcome.state == "failed"}
    hopeless = {name for name, code in failed.items() if not (waiting and code == _BUSY)}
    left = []
    for node in job.stages:
        if hopeless.intersection(node.upstream):
            hopeless.add(node.name)
        elif node.name not in hopeless and (node.name not in outcomes or outcomes[node.name].state in _UNDONE):
            left.append(node)
    return Job(tuple(left)) if left else None
